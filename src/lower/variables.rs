//! Variables in the order in which their names first appeared.

use std::collections::HashMap;
use std::sync::Arc;

/// `NAME=value` pairs: each name once, at the place where it first appeared.
///
/// Texts are shared: a stage made from another one, and a RUN among many, cost a pointer per variable; RUNs
/// between which nothing changes share one list.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    pairs: Vec<Pair>,
    places: HashMap<Arc<str>, usize>,
    shared: Option<Arc<[Arc<str>]>>,
}

#[derive(Debug, Clone)]
struct Pair {
    /// `NAME=value`
    text: Arc<str>,
    name_length: usize,
}

impl Pair {
    fn name(&self) -> &str {
        &self.text[..self.name_length]
    }

    fn value(&self) -> &str {
        &self.text[self.name_length + 1..]
    }
}

impl Variables {
    /// Reads an environment: for a name that stands there twice, the last value at the first place.
    pub(super) fn from_env(env: &[String]) -> Self {
        let mut variables = Self::default();
        for pair in env {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            variables.set(name, value);
        }
        variables
    }

    /// Sets `name`.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.shared = None;
        let pair = Pair { text: format!("{name}={value}").into(), name_length: name.len() };
        if let Some(place) = self.places.get(name) {
            self.pairs[*place] = pair;
        } else {
            self.places.insert(name.into(), self.pairs.len());
            self.pairs.push(pair);
        }
    }

    /// Returns the value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.pairs[*place].value())
    }

    /// Returns the names in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(Pair::name)
    }

    /// Returns names and values in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|pair| (pair.name(), pair.value()))
    }

    /// Returns `NAME=value` for each, in order.
    pub(super) fn to_env(&self) -> Vec<String> {
        self.pairs.iter().map(|pair| pair.text.to_string()).collect()
    }

    /// Returns `NAME=value` for each, in order; the same list until something changes.
    pub(super) fn share(&mut self) -> Arc<[Arc<str>]> {
        let pairs = &self.pairs;
        let shared =
            self.shared.get_or_insert_with(|| pairs.iter().map(|pair| Arc::clone(&pair.text)).collect());
        Arc::clone(shared)
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

    #[test]
    fn a_list_is_shared_until_something_changes() {
        let mut variables = Variables::from_env(&["A=1".into()]);
        let first = variables.share();
        assert!(Arc::ptr_eq(&first, &variables.share()));
        variables.set("A", "2");
        assert_eq!((&*first[0], &*variables.share()[0]), ("A=1", "A=2"));
    }
}
