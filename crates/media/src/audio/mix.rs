//! Adding voices.

/// Adds `voice` to `sum`.
pub(crate) fn add(sum: &mut [f32], voice: &[f32]) {
    for (s, v) in sum.iter_mut().zip(voice) {
        *s += v;
    }
}

/// Makes it louder or quieter, from one factor to another along its length, so that a change does not click.
pub(crate) fn fade(pcm: &mut [f32], from: f32, to: f32) {
    if from == 1.0 && to == 1.0 {
        return;
    }
    let step = (to - from) / pcm.len().max(1) as f32;
    for (n, x) in pcm.iter_mut().enumerate() {
        *x *= from + step * (n + 1) as f32;
    }
}

/// Bends what several voices add up to beyond 0.8 of full scale, so that it never clips hard.
pub(crate) fn limit(pcm: &mut [f32]) {
    const KNEE: f32 = 0.8;
    for x in pcm {
        if !x.is_finite() {
            *x = 0.0;
        } else if x.abs() > KNEE {
            let over = (x.abs() - KNEE) / (1.0 - KNEE);
            *x = (KNEE + (1.0 - KNEE) * over.tanh()).copysign(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_sums_pass_and_loud_ones_stay_within_full_scale() {
        let mut sum = [0.3, 0.5, -0.9, 0.7];
        add(&mut sum, &[0.2, 1.0, -0.9, f32::NAN]);
        limit(&mut sum);
        assert_eq!(sum[0], 0.5);
        assert!(sum[1] > 0.8 && sum[1] <= 1.0 && sum[2] < -0.8 && sum[2] >= -1.0);
        assert_eq!(sum[3], 0.0);
    }

    #[test]
    fn a_change_of_volume_is_gradual() {
        let mut pcm = [0.5; 480];
        fade(&mut pcm, 1.0, 1.0);
        assert_eq!(pcm, [0.5; 480]);
        fade(&mut pcm, 1.0, 0.0);
        assert!(pcm.windows(2).all(|pair| pair[0] > pair[1] && pair[0] - pair[1] < 0.002));
        assert!(pcm[479].abs() < 1e-6);
        let mut pcm = [0.25; 480];
        fade(&mut pcm, 2.0, 2.0);
        assert_eq!(pcm, [0.5; 480]);
    }
}
