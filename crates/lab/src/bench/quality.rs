//! How alike two pictures are: SSIM and PSNR of their luma. Pure.

/// Windows are so wide and high, and so far apart.
const WINDOW: usize = 8;
const STEP: usize = 4;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// Structural similarity of two luma planes of the same width: the mean over windows of 8x8, 4 apart; 1 of
/// equal ones. `None` when the planes are not of one size or smaller than a window.
pub fn ssim(one: &[u8], other: &[u8], width: usize) -> Option<f64> {
    let height = one.len().checked_div(width)?;
    if one.len() != other.len() || width < WINDOW || height < WINDOW {
        return None;
    }
    let (mut sum, mut count) = (0.0, 0u32);
    for top in (0..=height - WINDOW).step_by(STEP) {
        for left in (0..=width - WINDOW).step_by(STEP) {
            sum += window(one, other, top * width + left, width);
            count += 1;
        }
    }
    Some(sum / f64::from(count))
}

fn window(one: &[u8], other: &[u8], first: usize, width: usize) -> f64 {
    let (mut a, mut b, mut aa, mut bb, mut ab) = (0u32, 0u32, 0u32, 0u32, 0u32);
    for row in 0..WINDOW {
        let start = first + row * width;
        let pairs = one[start..start + WINDOW].iter().zip(&other[start..start + WINDOW]);
        for (x, y) in pairs {
            let (x, y) = (u32::from(*x), u32::from(*y));
            a += x;
            b += y;
            aa += x * x;
            bb += y * y;
            ab += x * y;
        }
    }
    let n = (WINDOW * WINDOW) as f64;
    let [a, b] = [a, b].map(|sum| f64::from(sum) / n);
    let [aa, bb, ab] = [(aa, a * a), (bb, b * b), (ab, a * b)].map(|(sum, mean)| f64::from(sum) / n - mean);
    (2.0 * a * b + C1) * (2.0 * ab + C2) / ((a * a + b * b + C1) * (aa + bb + C2))
}

/// Peak signal to noise of two luma planes, dB; at most 100, that of equal ones. `None` when they are not of
/// one size.
pub fn psnr(one: &[u8], other: &[u8]) -> Option<f64> {
    if one.len() != other.len() || one.is_empty() {
        return None;
    }
    let squares = one.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum::<u64>();
    let mean = squares as f64 / one.len() as f64;
    Some((10.0 * (255.0 * 255.0 / mean.max(1e-6)).log10()).min(100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(noise: u32) -> Vec<u8> {
        let mut state = 5u32;
        let pixel = |i: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let off = if noise == 0 { 0 } else { (state >> 16) % (2 * noise + 1) };
            (100 + (i % 64) as u32 + off - noise) as u8
        };
        (0..64 * 48).map(pixel).collect()
    }

    #[test]
    fn equal_pictures_are_alike_and_noise_takes_from_it() {
        let clean = plane(0);
        assert!((ssim(&clean, &clean, 64).unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(psnr(&clean, &clean), Some(100.0));
        let (little, much) = (plane(3), plane(30));
        let alike = [&little, &much].map(|noisy| ssim(&clean, noisy, 64).unwrap());
        assert!(1.0 > alike[0] && alike[0] > alike[1] && alike[1] > 0.0, "{alike:?}");
        // Even noise of +-3 has a mean square of 4: 42.1 dB.
        assert!((psnr(&clean, &little).unwrap() - 42.1).abs() < 0.3);
    }

    #[test]
    fn planes_of_other_sizes_are_not_compared() {
        assert_eq!(ssim(&[0; 64], &[0; 128], 8), None);
        assert_eq!(ssim(&[0; 16], &[0; 16], 4), None);
        assert_eq!(ssim(&[], &[], 0), None);
        assert_eq!((psnr(&[], &[]), psnr(&[1], &[1, 2])), (None, None));
    }
}
