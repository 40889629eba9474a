//! Rounds in rotated order: whoever goes first has no advantage, and a ratio is made within a round.

use crate::{error::BenchError, statistics::Spread};

/// One figure for each contestant, round by round.
#[derive(Debug)]
pub(crate) struct Rounds<S> {
    /// By round, then by contestant.
    samples: Vec<Vec<S>>,
}

/// Measures each contestant once a round.
pub(crate) fn run<C, S>(
    rounds: usize,
    contestants: &mut [C],
    mut measure: impl FnMut(&mut C) -> Result<S, BenchError>,
) -> Result<Rounds<S>, BenchError> {
    let count = contestants.len().max(1);
    let mut samples = Vec::new();
    for round in 0..rounds {
        let mut of_round: Vec<Option<S>> = contestants.iter().map(|_| None).collect();
        for turn in 0..contestants.len() {
            let index = (round + turn) % count;
            of_round[index] = Some(measure(&mut contestants[index])?);
        }
        samples.push(of_round.into_iter().flatten().collect());
    }
    Ok(Rounds { samples })
}

impl<S> Rounds<S> {
    /// What `value` says of each round's samples.
    pub(crate) fn spread(&self, value: impl Fn(&[S]) -> f64) -> Spread {
        let values: Vec<f64> = self.samples.iter().map(|samples| value(samples)).collect();
        Spread::of(&values)
    }

    /// The ratio of one contestant's figure to another's, each round for itself.
    pub(crate) fn ratio(&self, one: usize, other: usize, value: impl Fn(&S) -> f64) -> Spread {
        self.spread(|samples| value(&samples[one]) / value(&samples[other]).max(f64::MIN_POSITIVE))
    }
}

/// Measures once more where the rounds lie far apart, and says so; the steadier of the two counts.
pub(crate) fn steadily<T>(
    mut measure: impl FnMut() -> Result<T, BenchError>,
    spread: impl Fn(&T) -> Spread,
) -> Result<(T, Option<String>), BenchError> {
    let first = measure()?;
    if !spread(&first).is_noisy() {
        return Ok((first, None));
    }
    let second = measure()?;
    let width = |it: &T| {
        let spread = spread(it);
        (spread.most - spread.least) / spread.median.max(f64::MIN_POSITIVE)
    };
    let words = "the rounds lay far apart: measured twice, the steadier counts";
    let steadier = if width(&second) < width(&first) { second } else { first };
    Ok((steadier, Some(words.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_contestant() {
        let mut order = Vec::new();
        let mut names = ['a', 'b', 'c'];
        let rounds = run(3, &mut names, |name| {
            order.push(*name);
            Ok(f64::from(u32::from(*name)))
        });
        assert_eq!(order.iter().collect::<String>(), "abcbcacab");
        let ratio = rounds.unwrap().ratio(0, 1, |it| *it);
        assert!((ratio.median - 97.0 / 98.0).abs() < 1e-9, "{ratio:?}");
    }

    #[test]
    fn what_is_noisy_is_measured_twice_and_says_so() {
        let mut results = [[1.0, 9.0], [5.0, 5.1]].into_iter();
        let (values, words) =
            steadily(|| Ok(results.next().unwrap_or_default()), |it| Spread::of(it)).unwrap();
        assert_eq!((values, words.is_some()), ([5.0, 5.1], true));
    }
}
