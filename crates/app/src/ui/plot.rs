//! Little plots: lines over the last minute, the newest at the right edge.

use eframe::egui::{Color32, Painter, Rect, Shape, Stroke, pos2};

/// The samples that fill a plot from edge to edge.
const ACROSS: usize = call::History::SAMPLES;

/// A rectangle with one scale, from 0 to `top`, for the lines in it.
pub struct Plot<'a> {
    painter: &'a Painter,
    rect: Rect,
    top: f32,
}

impl<'a> Plot<'a> {
    /// Draws the ground. What is above `top` is drawn at the upper edge.
    pub fn new(painter: &'a Painter, rect: Rect, top: f32, ground: Color32) -> Self {
        painter.rect_filled(rect, 3.0, ground);
        Self { painter, rect: rect.shrink2(eframe::egui::vec2(1.0, 2.0)), top }
    }

    /// Draws values, oldest first; where there is none the line has a gap.
    pub fn line(&self, values: impl DoubleEndedIterator<Item = Option<f32>>, color: Color32) {
        let stroke = Stroke::new(1.25, color);
        let mut points = Vec::new();
        let end_of_line = |points: &mut Vec<_>| {
            let points = std::mem::take(points);
            match points.len() {
                0 => {}
                1 => drop(self.painter.circle_filled(points[0], 1.0, color)),
                _ => drop(self.painter.add(Shape::line(points, stroke))),
            }
        };
        for (age, value) in values.rev().take(ACROSS).enumerate() {
            match value.filter(|value| value.is_finite()) {
                Some(value) => points.push(self.at(age, value)),
                None => end_of_line(&mut points),
            }
        }
        end_of_line(&mut points);
    }

    fn at(&self, age: usize, value: f32) -> eframe::egui::Pos2 {
        let step = self.rect.width() / (ACROSS - 1) as f32;
        let height = (value / self.top).clamp(0.0, 1.0) * self.rect.height();
        pos2(self.rect.right() - age as f32 * step, self.rect.bottom() - height)
    }
}

/// The upper end of a scale for values up to `highest`: a round number, `least` at least, so that noise
/// about nothing stays flat.
pub fn top(highest: f32, least: f32) -> f32 {
    if !highest.is_finite() || highest <= least {
        return least;
    }
    let decade = 10_f32.powf(highest.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * decade).find(|top| *top >= highest).unwrap_or(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers_above_what_they_show() {
        for (highest, least, expected) in [
            (0.0, 0.1, 0.1),
            (0.021, 0.1, 0.1),
            (0.12, 0.1, 0.2),
            (3.0, 0.1, 5.0),
            (1_240_000.0, 100_000.0, 2_000_000.0),
            (6.0, 1.0, 10.0),
            (f32::NAN, 1.0, 1.0),
        ] {
            let top = top(highest, least);
            assert!((top - expected).abs() < expected * 1e-3, "{highest}: {top}");
        }
    }
}
