//! `--squash`: what the build adds becomes one layer; the base's layers stay.
//!
//! Config and history say what they said; as with docker the new entries have no layer then, and one more entry names
//! the images that were merged.

use super::image::MadeImage;
use super::{Annotations, Error};
use crate::assemble::Flavor;
use crate::graph::{Graph, Op, StepId};
use crate::image::Image;
use crate::solve::{self, Solution, Workshop};

/// Merges the new layers of an image; `None` if it has none.
pub(super) fn squash<'a>(
    made: &MadeImage<'a>,
    graph: &Graph,
    solution: &Solution,
    workshop: &Workshop<'_>,
) -> Result<Option<MadeImage<'a>>, Error> {
    let base = made.output.root.and_then(|root| base_of(graph, root));
    let base_layers = base.map_or(0, |image| image.layers.len());
    let Some(root) = &made.root else { return Ok(None) };
    let name = "squashing the new layers".to_owned();
    let squashed = workshop.task(name, |_| solve::squash(root, base_layers, workshop))?;
    let Some(root) = squashed else { return Ok(None) };
    let whole =
        made.assemble(solution, workshop, Flavor::Oci, &Annotations::default(), None)?.image.config.digest;
    let comment = match base {
        Some(base) => format!("merge {whole} to {}", base.id),
        None => format!("create new from {whole}"),
    };
    Ok(Some(MadeImage { output: made.output, root: Some(root), merge: Some(comment) }))
}

/// Returns the image at the bottom of a step.
fn base_of(graph: &Graph, step: StepId) -> Option<&Image> {
    let chain = std::iter::successors(Some(step), |step| graph.step(*step).op.parent());
    chain.last().and_then(|bottom| match &graph.step(bottom).op {
        Op::Base(image) => Some(&**image),
        Op::Run(_) | Op::Copy(_) | Op::Mkdir(_) => None,
    })
}
