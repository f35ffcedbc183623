//! Layers go to their registries while later steps run.

use std::iter;
use std::sync::mpsc;

use super::{ExportKind, Request};
use crate::event::Event;
use crate::reference::Reference;
use crate::registry::{AheadOf, Limits, Registry, Step};
use crate::solve::{self, OnReady, Ready, ReadyOf, Workshop};

/// Has `build` do the steps, and meanwhile sends the layers that it tells of to every registry to which the request pushes
/// what names them. Returns when the build is done and the layers are sent; a build that fails stops them.
pub(super) fn while_building<T>(
    request: &Request,
    registry: &Registry,
    workshop: &Workshop<'_>,
    build: impl FnOnce(&OnReady<'_>) -> Result<T, solve::Error>,
) -> Result<T, solve::Error> {
    let pushes = Pushes::of(request);
    if pushes.0.is_empty() {
        return build(&|_| ());
    }
    let (sender, layers) = mpsc::channel();
    let ahead = registry.ahead();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // No task where there is nothing to send.
            let mut layers = layers.into_iter();
            let Some(first) = layers.next() else { return };
            let send = |task| {
                ahead.send(iter::once(first).chain(layers), &|step| {
                    if let Step::Sent { done, total } = step {
                        workshop.listener.event(Event::TaskProgress { task, done, total: Some(total) });
                    }
                });
                Ok::<_, solve::Error>(())
            };
            let _ = workshop.task("pushing layers".to_owned(), send);
        });
        let on_ready = |Ready { blob, of }: Ready<'_>| {
            let targets = pushes.of_layer(of);
            if !targets.is_empty() {
                // Its receiver ends last.
                let _ = sender.send(AheadOf { blob: blob.clone(), targets });
            }
        };
        let built = build(&on_ready);
        if built.is_err() {
            ahead.stop();
        }
        drop(sender);
        built
    })
}

/// What is pushed in the end, each repository once.
struct Pushes(Vec<Push>);

struct Push {
    reference: Reference,
    limits: Limits,
    /// Which layers will be named.
    named: fn(ReadyOf) -> bool,
}

impl Pushes {
    fn of(request: &Request) -> Self {
        let mut pushes = Self(Vec::new());
        let registries = || request.exports.iter().filter(|export| export.kind == ExportKind::Registry);
        // What is squashed is packed in the end, and what is compressed anew may be a base.
        if !request.squash {
            let named = match registries().any(|export| export.force_compression) {
                true => |of| of == ReadyOf::Image,
                false => |of| of != ReadyOf::Cache,
            };
            for reference in registries().flat_map(|export| request.names(export)) {
                pushes.add(reference, request.limits, named);
            }
        }
        for target in &request.cache_to {
            if let Some(reference) = target.pushed() {
                let named: fn(ReadyOf) -> bool = match target.everything {
                    true => |of| of != ReadyOf::Base,
                    false => |of| of == ReadyOf::Image,
                };
                pushes.add(reference, Limits::default(), named);
            }
        }
        pushes
    }

    fn add(&mut self, reference: &Reference, limits: Limits, named: fn(ReadyOf) -> bool) {
        if !self.0.iter().any(|push| push.reference.name() == reference.name()) {
            self.0.push(Push { reference: reference.clone(), limits, named });
        }
    }

    fn of_layer(&self, of: ReadyOf) -> Vec<(Reference, Limits)> {
        let named = self.0.iter().filter(|push| (push.named)(of));
        named.map(|push| (push.reference.clone(), push.limits)).collect()
    }
}
