//! A bar on a terminal, and nothing anywhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nacre_registry::{Event, Progress};

use crate::context::{Context, Output};

pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(context: &Context, images: usize) -> Self {
        let visible = context.environment.stderr_is_terminal && context.output == Output::Text;
        let target = match visible {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(u64::try_from(images).ok(), target);
        let style = "{bar:24} {pos}/{len} images {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl Progress for Bar {
    fn event(&self, event: &Event) {
        match event {
            Event::Started { image } => self.0.set_message(image.clone()),
            Event::Layer { image, bytes } => {
                let size = indicatif::HumanBytes(*bytes);
                self.0
                    .set_message(format!("{image}: looking for users in {size} of layers"));
            }
            Event::Received { .. } => self.0.tick(),
            Event::Finished { .. } => self.0.inc(1),
            _ => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
