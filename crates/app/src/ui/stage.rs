//! Where the tiles stand: as large as N of them can be, oneself in a corner.

use eframe::egui::{Rect, Vec2, pos2, vec2};

/// The space between tiles, in points.
const GAP: f32 = 10.0;

/// A grid of `count` places in `space`, row by row; the last row is centred. Columns are chosen so that
/// tiles of shape 16:9 become largest.
pub fn grid(space: Rect, count: usize) -> Vec<Rect> {
    let height_with = |columns: usize| {
        let cell = cell(space, count, columns);
        cell.y.min(cell.x * 9.0 / 16.0)
    };
    let columns = (1..=count).max_by(|a, b| height_with(*a).total_cmp(&height_with(*b))).unwrap_or(1);
    let cell = cell(space, count, columns);
    let place = |at: usize| {
        let (row, column) = (at / columns, at % columns);
        let in_row = (count - row * columns).min(columns);
        let empty = (columns - in_row) as f32 * (cell.x + GAP) / 2.0;
        let left = space.left() + empty + column as f32 * (cell.x + GAP);
        Rect::from_min_size(pos2(left, space.top() + row as f32 * (cell.y + GAP)), cell)
    };
    (0..count).map(place).collect()
}

fn cell(space: Rect, count: usize, columns: usize) -> Vec2 {
    let rows = count.div_ceil(columns.max(1));
    let side = |length: f32, parts: usize| ((length - GAP * (parts as f32 - 1.0)) / parts as f32).max(1.0);
    vec2(side(space.width(), columns), side(space.height(), rows))
}

/// Oneself, in the lower right corner of the stage. `aspect` is width over height.
pub fn corner(stage: Rect, aspect: f32) -> Rect {
    let width = (stage.width() * 0.24).clamp(96.0, 260.0);
    let height = (width / aspect).min(stage.height() * 0.4);
    let size = vec2(height * aspect, height);
    Rect::from_min_size(stage.right_bottom() - size - Vec2::splat(GAP + 4.0), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(width: f32, height: f32) -> Rect {
        Rect::from_min_size(pos2(8.0, 40.0), vec2(width, height))
    }

    #[test]
    fn one_fills_the_stage() {
        assert_eq!(grid(stage(640.0, 360.0), 1), [stage(640.0, 360.0)]);
        assert_eq!(grid(stage(640.0, 360.0), 0), []);
    }

    #[test]
    fn tiles_stay_inside_and_apart_at_every_size() {
        for (width, height) in [(464.0, 240.0), (240.0, 600.0), (1904.0, 980.0), (20.0, 4.0)] {
            for count in 1..=12 {
                let stage = stage(width, height);
                let tiles = grid(stage, count);
                assert_eq!(tiles.len(), count);
                for (at, tile) in tiles.iter().enumerate() {
                    let inside = stage.expand(0.01).contains_rect(*tile) || width < 100.0;
                    assert!(inside && tile.is_positive(), "{count} in {stage:?}: {tile:?}");
                    assert!(tiles[..at].iter().all(|other| !other.intersects(tile.shrink(0.5))));
                }
            }
        }
    }

    #[test]
    fn wide_stages_get_columns_and_high_ones_rows() {
        assert_eq!(grid(stage(1000.0, 300.0), 2)[0].height(), 300.0);
        assert_eq!(grid(stage(300.0, 1000.0), 2)[0].width(), 300.0);
        let three = grid(stage(800.0, 600.0), 3);
        assert!(
            (three[2].center().x - stage(800.0, 600.0).center().x).abs() < 1.0,
            "the last row is centred"
        );
    }

    #[test]
    fn oneself_stays_in_the_corner() {
        for (width, height) in [(464.0, 240.0), (1904.0, 980.0)] {
            for aspect in [16.0 / 9.0, 0.75] {
                let corner = corner(stage(width, height), aspect);
                assert!(stage(width, height).contains_rect(corner));
                assert!((corner.width() / corner.height() - aspect).abs() < 0.01);
            }
        }
    }
}
