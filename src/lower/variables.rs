//! Variables in the order in which their names first appeared.

use std::collections::HashMap;
use std::sync::Arc;

/// `NAME=value` pairs: each name once, at the place where it first appeared.
///
/// A copy shares the texts, so that a stage made from another one costs a pointer per variable.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    pairs: Vec<Pair>,
    places: HashMap<Arc<str>, usize>,
}

#[derive(Debug, Clone)]
struct Pair {
    name: Arc<str>,
    value: Arc<str>,
}

impl Variables {
    /// Reads an environment: for a name that stands there twice, the last value at the first place.
    pub fn from_env(env: &[String]) -> Self {
        let mut variables = Self::default();
        for pair in env {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            variables.set(name, value);
        }
        variables
    }

    /// Sets `name`.
    pub fn set(&mut self, name: &str, value: &str) {
        if let Some(place) = self.places.get(name) {
            self.pairs[*place].value = value.into();
            return;
        }
        let name: Arc<str> = name.into();
        self.places.insert(Arc::clone(&name), self.pairs.len());
        self.pairs.push(Pair { name, value: value.into() });
    }

    /// Returns the value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| &*self.pairs[*place].value)
    }

    /// Returns the names in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|pair| &*pair.name)
    }

    /// Returns names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|pair| (&*pair.name, &*pair.value))
    }

    /// Returns `NAME=value` for each, in order.
    pub fn to_env(&self) -> Vec<String> {
        self.pairs.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_67_a_replaced_name_keeps_its_place() {
        let mut variables = Variables::from_env(&["A=1".into(), "B=2".into(), "C".into()]);
        variables.set("A", "3");
        variables.set("D", "=");
        assert_eq!(variables.to_env(), ["A=3", "B=2", "C=", "D=="]);
        assert_eq!((variables.get("D"), variables.get("E")), (Some("="), None));
    }
}
