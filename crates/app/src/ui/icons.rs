//! Icons, drawn with the painter: no font has to have them. Each fits a square, and takes one colour.

use eframe::egui::{
    Color32, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, Vec2, epaint::PathShape, pos2, vec2,
};

/// What an icon shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// A microphone.
    Mic,
    /// A microphone, struck out.
    MicOff,
    /// A camera.
    Camera,
    /// A camera, struck out.
    CameraOff,
    /// A receiver laid down.
    Leave,
    /// A speech bubble.
    Chat,
    /// Two sheets.
    Copy,
    /// A tick.
    Done,
    /// Sliders.
    Devices,
    /// A cross.
    Close,
    /// A triangle with a mark of exclamation.
    Warning,
    /// Four corners.
    Fullscreen,
    /// A curve between two axes.
    Statistics,
    /// A padlock.
    Lock,
    /// A padlock that is open.
    LockOpen,
    /// Three bars of growing height, so many of them lit.
    Bars(u8),
}

/// Draws an icon into the middle of a rectangle, as a square of its shorter side; `ground` is what is behind.
pub fn paint(painter: &Painter, icon: Icon, rect: Rect, color: Color32, ground: Color32) {
    let side = rect.size().min_elem();
    Pen { painter, origin: rect.center() - Vec2::splat(side / 2.0), side, color, ground }.draw(icon);
}

/// Draws in a unit square.
struct Pen<'a> {
    painter: &'a Painter,
    origin: Pos2,
    side: f32,
    color: Color32,
    ground: Color32,
}

impl Pen<'_> {
    fn draw(&self, icon: Icon) {
        match icon {
            Icon::Mic => self.mic(),
            Icon::MicOff => {
                self.mic();
                self.strike();
            }
            Icon::Camera => self.camera(),
            Icon::CameraOff => {
                self.camera();
                self.strike();
            }
            Icon::Leave => self.leave(),
            Icon::Chat => self.chat(),
            Icon::Copy => {
                self.frame(0.32, 0.32, 0.88, 0.88, 0.1);
                self.path(&[(0.2, 0.66), (0.14, 0.62), (0.12, 0.2), (0.2, 0.12), (0.62, 0.12), (0.68, 0.2)]);
            }
            Icon::Done => self.path(&[(0.15, 0.55), (0.4, 0.8), (0.87, 0.25)]),
            Icon::Devices => self.sliders(),
            Icon::Close => {
                self.path(&[(0.2, 0.2), (0.8, 0.8)]);
                self.path(&[(0.8, 0.2), (0.2, 0.8)]);
            }
            Icon::Lock | Icon::LockOpen => self.lock(icon == Icon::Lock),
            Icon::Warning => self.warning(),
            Icon::Fullscreen => self.corners(),
            Icon::Statistics => {
                self.path(&[(0.1, 0.1), (0.1, 0.88), (0.92, 0.88)]);
                self.path(&[(0.26, 0.66), (0.44, 0.4), (0.62, 0.56), (0.88, 0.2)]);
            }
            Icon::Bars(lit) => self.bars(lit),
        }
    }

    fn at(&self, (x, y): (f32, f32)) -> Pos2 {
        self.origin + vec2(x, y) * self.side
    }

    fn stroke(&self) -> Stroke {
        Stroke::new((self.side * 0.085).max(1.2), self.color)
    }

    fn path(&self, points: &[(f32, f32)]) {
        let points: Vec<Pos2> = points.iter().map(|point| self.at(*point)).collect();
        // Round ends: a dot at each.
        for end in points.first().into_iter().chain(points.last()) {
            self.painter.circle_filled(*end, self.stroke().width / 2.0, self.color);
        }
        self.painter.add(Shape::line(points, self.stroke()));
    }

    fn solid(&self, points: &[(f32, f32)]) {
        let points = points.iter().map(|point| self.at(*point)).collect();
        self.painter.add(PathShape::convex_polygon(points, self.color, Stroke::NONE));
    }

    fn frame(&self, left: f32, top: f32, right: f32, bottom: f32, rounding: f32) {
        let rect = Rect::from_min_max(self.at((left, top)), self.at((right, bottom)));
        self.painter.rect_stroke(rect, rounding * self.side, self.stroke(), StrokeKind::Middle);
    }

    fn arc(&self, center: (f32, f32), radius: f32, from: f32, to: f32) {
        let point = |step: u8| {
            let angle = (from + (to - from) * f32::from(step) / 16.0).to_radians();
            (center.0 + radius * angle.cos(), center.1 + radius * angle.sin())
        };
        let points: Vec<_> = (0..=16).map(point).collect();
        self.path(&points);
    }

    fn mic(&self) {
        let body = Rect::from_min_max(self.at((0.37, 0.08)), self.at((0.63, 0.56)));
        self.painter.rect_filled(body, 0.13 * self.side, self.color);
        self.arc((0.5, 0.44), 0.28, 10.0, 170.0);
        self.path(&[(0.5, 0.72), (0.5, 0.9)]);
        self.path(&[(0.34, 0.91), (0.66, 0.91)]);
    }

    fn camera(&self) {
        let body = Rect::from_min_max(self.at((0.06, 0.26)), self.at((0.66, 0.76)));
        self.painter.rect_filled(body, 0.1 * self.side, self.color);
        self.solid(&[(0.72, 0.45), (0.94, 0.29), (0.94, 0.73), (0.72, 0.57)]);
    }

    /// A line across, with a gap beside it so that it reads on the filled shapes.
    fn strike(&self) {
        let ends = [self.at((0.12, 0.1)), self.at((0.88, 0.9))];
        let gap = vec2(0.7, -0.7) * self.stroke().width;
        let ground = Stroke::new(self.stroke().width * 1.1, self.ground);
        self.painter.line_segment([ends[0] + gap, ends[1] + gap], ground);
        self.path(&[(0.12, 0.1), (0.88, 0.9)]);
    }

    fn leave(&self) {
        let wide = Stroke::new(self.side * 0.17, self.color);
        let point = |step: u8| {
            let angle = (205.0 + 130.0 * f32::from(step) / 16.0_f32).to_radians();
            self.at((0.5 + 0.46 * angle.cos(), 0.84 + 0.42 * angle.sin()))
        };
        let points: Vec<Pos2> = (0..=16).map(point).collect();
        self.painter.add(Shape::line(points, wide));
        self.solid(&[(0.02, 0.5), (0.24, 0.46), (0.28, 0.68), (0.06, 0.74)]);
        self.solid(&[(0.98, 0.5), (0.76, 0.46), (0.72, 0.68), (0.94, 0.74)]);
    }

    fn chat(&self) {
        self.frame(0.1, 0.14, 0.9, 0.7, 0.14);
        self.solid(&[(0.24, 0.7), (0.5, 0.7), (0.26, 0.92)]);
        self.path(&[(0.3, 0.35), (0.7, 0.35)]);
        self.path(&[(0.3, 0.51), (0.55, 0.51)]);
    }

    fn sliders(&self) {
        for (y, knob) in [(0.22, 0.68), (0.5, 0.32), (0.78, 0.58)] {
            self.path(&[(0.1, y), (0.9, y)]);
            self.painter.circle_filled(self.at((knob, y)), 0.12 * self.side, self.color);
        }
    }

    fn lock(&self, shut: bool) {
        let body = Rect::from_min_max(self.at((0.18, 0.46)), self.at((0.82, 0.92)));
        self.painter.rect_filled(body, 0.1 * self.side, self.color);
        self.arc((0.5, 0.34), 0.22, 180.0, if shut { 360.0 } else { 330.0 });
        self.path(&[(0.28, 0.34), (0.28, 0.48)]);
        if shut {
            self.path(&[(0.72, 0.34), (0.72, 0.48)]);
        }
    }

    fn warning(&self) {
        self.path(&[(0.5, 0.1), (0.94, 0.88), (0.06, 0.88), (0.5, 0.1)]);
        self.path(&[(0.5, 0.38), (0.5, 0.6)]);
        self.painter.circle_filled(self.at((0.5, 0.75)), 0.055 * self.side, self.color);
    }

    fn bars(&self, lit: u8) {
        for (at, (x, top)) in [(0.08, 0.62), (0.39, 0.36), (0.7, 0.1)].into_iter().enumerate() {
            let color = if at < usize::from(lit) { self.color } else { self.color.gamma_multiply(0.35) };
            let rect = Rect::from_min_max(self.at((x, top)), self.at((x + 0.22, 0.92)));
            self.painter.rect_filled(rect, 0.06 * self.side, color);
        }
    }

    fn corners(&self) {
        for (x, y) in [(0.14, 0.14), (0.86, 0.14), (0.86, 0.86), (0.14, 0.86)] {
            let inward = |value: f32| if value < 0.5 { 0.24 } else { -0.24 };
            self.path(&[(x + inward(x), y), (x, y), (x, y + inward(y))]);
        }
    }
}

/// The square of an icon of a side, in the middle of a rectangle.
pub fn square(rect: Rect, side: f32) -> Rect {
    Rect::from_center_size(pos2(rect.center().x, rect.center().y), Vec2::splat(side))
}
