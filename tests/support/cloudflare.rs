//! A stand-in for Cloudflare's API, as far as wrangler asks it when it builds, pushes and deploys containers.
//!
//! What it answers is what wrangler's own code reads of an answer. It deploys nothing; its log of requests shows what
//! would have been deployed.

use serde_json::{Value, json};

use super::web::{Answer, WebRequest, WebServer};

/// The account of all requests.
pub(crate) const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// The version of the worker that is deployed; its first group is the image's tag.
pub(crate) const VERSION: &str = "22222222222222222222222222222222";

/// What an account is like.
#[derive(Clone)]
pub(crate) struct Account {
    /// Who may push to the registry, and the password for it.
    pub(crate) credentials: (&'static str, &'static str),
    /// How large an image may be when it is unpacked, in MB.
    pub(crate) disk_mb: u64,
}

/// A running stand-in.
pub(crate) struct Cloudflare {
    server: WebServer,
}

impl Cloudflare {
    /// Starts it.
    pub(crate) fn start(account: Account) -> Self {
        Self { server: WebServer::start(move |request, _| answer(request, &account)) }
    }

    /// Returns what wrangler is to know about its surroundings.
    pub(crate) fn environment(&self, registry: &str) -> [(&'static str, String); 4] {
        [
            ("CLOUDFLARE_API_BASE_URL", self.server.url("")),
            ("CLOUDFLARE_API_TOKEN", "token".into()),
            ("CLOUDFLARE_ACCOUNT_ID", ACCOUNT.into()),
            ("CLOUDFLARE_CONTAINER_REGISTRY", registry.into()),
        ]
    }

    /// Returns the image that each created application is to run, in order.
    pub(crate) fn deployed(&self) -> Vec<String> {
        let requests = self.server.requests();
        let created = requests
            .iter()
            .filter(|request| request.method == "POST" && request.path.ends_with("/containers/applications"));
        let image = |request: &WebRequest| {
            let application: Value = serde_json::from_slice(&request.body).expect("wrangler sends JSON");
            application["configuration"]["image"].as_str().expect("an image").to_owned()
        };
        created.map(image).collect()
    }
}

fn answer(request: &WebRequest, account: &Account) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix(&format!("/accounts/{ACCOUNT}")).unwrap_or(path);
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let result = match (request.method.as_str(), &parts[..]) {
        // No worker of that name is deployed yet.
        ("GET", ["workers", "services", _]) => {
            let error = json!({"code": 10090, "message": "workers.api.error.service_not_found"});
            return json_answer(
                404,
                &json!({"success": false, "errors": [error], "messages": [], "result": null}),
            );
        }
        ("GET", ["containers", "me"]) => json!({
            "external_account_id": ACCOUNT,
            "legacy_identity": "nobody",
            "limits": {
                "account_id": ACCOUNT,
                "vcpu_per_deployment": 4,
                "memory_mib_per_deployment": 12288,
                "disk_mb_per_deployment": account.disk_mb,
            },
            "locations": [],
            "capabilities": [],
        }),
        ("POST", ["containers", "registries", host, "credentials"]) => json!({
            "account_id": ACCOUNT,
            "registry_host": host,
            "username": account.credentials.0,
            "password": account.credentials.1,
        }),
        ("POST", ["containers", "applications"]) => {
            let mut application: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            application["id"] = json!("11111111-1111-1111-1111-111111111111");
            application
        }
        ("GET", ["containers", "applications"] | ["workers", "scripts", _, "secrets"]) => json!([]),
        ("PUT", ["workers", "scripts", name]) => {
            json!({"id": name, "startup_time_ms": 1, "deployment_id": VERSION, "etag": "x"})
        }
        ("GET", ["workers", "scripts", _, "deployments"]) => json!({"deployments": []}),
        ("GET", ["workers", "scripts", _, "versions", id]) => json!({
            "id": id,
            "number": 1,
            "metadata": {},
            "resources": {"bindings": [
                {"type": "durable_object_namespace", "name": "A", "class_name": "Web", "namespace_id": "aa"},
                {"type": "durable_object_namespace", "name": "B", "class_name": "Job", "namespace_id": "bb"},
            ]},
        }),
        (_, ["workers", "subdomain"] | ["workers", "scripts", _, "subdomain"]) => {
            json!({"subdomain": "example", "enabled": true, "previews_enabled": false})
        }
        ("GET", ["workers", "workers", name]) => json!({
            "name": name,
            "subdomain": {"enabled": true, "previews_enabled": false},
            "observability": {"enabled": false},
        }),
        _ => json!({}),
    };
    json_answer(200, &json!({"success": true, "errors": [], "messages": [], "result": result}))
}

fn json_answer(status: u16, value: &Value) -> Answer {
    Answer { status, ..Answer::file(value.to_string()) }.with("Content-Type", "application/json")
}

/// Starts what translates Cloudflare's ways of its registry for docker-registry at `upstream`: `_catalog?tags=true` has the
/// tags of each repository, a tag can be deleted, garbage can be collected.
pub(crate) fn registry_front(upstream: &str, user: &str, password: &str) -> WebServer {
    let (upstream, credentials) = (format!("http://{upstream}"), format!("{user}:{password}"));
    WebServer::start(move |request, _| {
        let ask = |method: &str, path: &str| ask(&credentials, method, &format!("{upstream}{path}"));
        let path = request.path.split('?').next().unwrap_or_default();
        match (request.method.as_str(), path) {
            ("GET", "/v2/_catalog") => {
                let (_, catalog) = ask("GET", path);
                let names = catalog["repositories"].as_array().cloned().unwrap_or_default();
                let tags = |name: &Value| {
                    let name = name.as_str().unwrap_or_default();
                    let (_, list) = ask("GET", &format!("/v2/{name}/tags/list"));
                    (name.to_owned(), json!(list["tags"].as_array().cloned().unwrap_or_default()))
                };
                let repositories: serde_json::Map<String, Value> = names.iter().map(tags).collect();
                json_answer(200, &json!({"repositories": repositories}))
            }
            ("HEAD", path) => match ask("HEAD", path).0 {
                Some(digest) => Answer::status(200).with("Docker-Content-Digest", digest),
                None => Answer::status(404),
            },
            ("DELETE", path) => {
                let (repository, _) = path.rsplit_once('/').unwrap_or_default();
                let Some(digest) = ask("HEAD", path).0 else { return Answer::status(404) };
                ask("DELETE", &format!("{repository}/{digest}"));
                Answer::status(202)
            }
            ("PUT", "/v2/gc/layers") => json_answer(200, &json!({})),
            _ => Answer::status(404),
        }
    })
}

/// Asks a registry by curl; returns the digest that the answer names, and its body if that is JSON.
fn ask(credentials: &str, method: &str, url: &str) -> (Option<String>, Value) {
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let method: &[&str] = if method == "HEAD" { &["--head"] } else { &["--request", method] };
    let fixed = ["--silent", "--include", "--user", credentials, "--header", accept, url];
    let answer = super::run("curl", fixed.iter().chain(method));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let is_digest = |line: &str| line.to_ascii_lowercase().starts_with("docker-content-digest:");
    let digest = head.lines().find(|line| is_digest(line)).and_then(|line| line.split_once(':'));
    (digest.map(|(_, digest)| digest.trim().to_owned()), serde_json::from_str(body).unwrap_or_default())
}
