//! The table of new connections: against a plain second implementation, and by what it promises.

use std::net::SocketAddr;

use legato_forwarder::{Backend, SipKey, State, TagKeys, View, ViewSettings, PLACES};
use legato_quic_lb::ServerId;
use siphasher::sip::SipHasher24;

const KEY: [u8; 16] = [5; 16];

fn view(weights: &[(u16, u32)]) -> View {
    let mut settings = ViewSettings::new(SipKey::new(KEY), TagKeys::new(SipKey::new([0; 16])));
    let backends = weights.iter().map(|&(number, weight)| Backend {
        server_ids: vec![name(number)],
        address: SocketAddr::from(([10, 1, (number >> 8) as u8, number as u8], 7000)),
        state: State::Ready,
        weight,
    });
    settings.backends = backends.collect();
    View::new(settings).unwrap()
}

fn name(number: u16) -> ServerId {
    let [a, b] = number.to_be_bytes();
    ServerId::new(&[a, b, 7, 7, 7, 7, 7, 7]).unwrap()
}

/// The servers' numbers in the places, rather than their order in the view.
fn owners(weights: &[(u16, u32)]) -> Vec<u16> {
    let view = view(weights);
    let places = view.places().iter();
    places.map(|index| weights[usize::from(*index)].0).collect()
}

/// Everybody's whole order is written down, and turns are dealt with in fractions of the largest weight.
fn reference(weights: &[(u16, u32)]) -> Vec<u16> {
    let mut sorted = weights.to_vec();
    sorted.sort_by_key(|(number, _)| *number);
    let largest = sorted.iter().map(|(_, weight)| *weight).max().unwrap();
    let mut orders: Vec<_> = sorted
        .iter()
        .map(|(number, _)| {
            let hash = |purpose: u8| {
                let octets = [&[purpose][..], &name(*number)].concat();
                SipHasher24::new_with_key(&KEY).hash(&octets)
            };
            let (offset, skip) = (hash(0) % 65537, hash(1) % 65536 + 1);
            let order: Vec<usize> = (0..65537)
                .map(|step| ((offset + step * skip) % 65537) as usize)
                .collect();
            order.into_iter()
        })
        .collect();
    let mut places: Vec<Option<u16>> = vec![None; 65537];
    let mut left = 65537;
    for round in 1.. {
        for (order, &(number, weight)) in orders.iter_mut().zip(&sorted) {
            let turns = |round: u64| round * u64::from(weight) / u64::from(largest);
            if turns(round) > turns(round - 1) {
                let free = order.find(|place| places[*place].is_none()).unwrap();
                places[free] = Some(number);
                left -= 1;
                if left == 0 {
                    return places.into_iter().map(Option::unwrap).collect();
                }
            }
        }
    }
    unreachable!("every round fills a place")
}

#[test]
fn the_table_is_the_references() {
    for weights in [
        &[(1, 1)][..],
        &[(1, 1), (2, 1), (3, 1)],
        &[(9, 7), (2, 3), (5, 1), (4, 7)],
        &[(1, u32::MAX), (2, u32::MAX / 3), (3, 1)],
    ] {
        assert_eq!(owners(weights), reference(weights), "{weights:?}");
    }
    let many: Vec<(u16, u32)> = (0..40)
        .map(|number| (number, 1 + u32::from(number % 5)))
        .collect();
    assert_eq!(owners(&many), reference(&many));
}

#[test]
fn balancers_agree_whatever_order_they_learned_the_servers_in() {
    let forward = [(1, 2), (2, 1), (3, 5), (4, 1)];
    let mut backward = forward;
    backward.reverse();
    assert_eq!(owners(&forward), owners(&backward));
}

#[test]
fn shares_follow_weights() {
    let weights = [(1, 10), (2, 20), (3, 70), (4, 0)];
    let owners = owners(&weights);
    assert_eq!(owners.len(), PLACES);
    for (number, weight) in weights {
        let share = owners.iter().filter(|owner| **owner == number).count() as f64 / PLACES as f64;
        let wanted = f64::from(weight) / 100.0;
        assert!(
            (share - wanted).abs() < 0.001,
            "{number}: {share} instead of {wanted}"
        );
    }
}

/// The share of places that changed hands though neither their old nor their new owner came or went.
fn disturbed(before: &[(u16, u32)], after: &[(u16, u32)]) -> f64 {
    let stays = |number: u16| {
        let within = |list: &[(u16, u32)]| list.iter().any(|(other, _)| *other == number);
        within(before) && within(after)
    };
    let (old, new) = (owners(before), owners(after));
    let moved = old
        .iter()
        .zip(&new)
        .filter(|(old, new)| old != new && stays(**old) && stays(**new));
    moved.count() as f64 / PLACES as f64
}

#[test]
fn few_places_change_hands_when_a_server_comes_or_goes() {
    for (count, most) in [(3, 0.02), (10, 0.02), (100, 0.02)] {
        let all: Vec<(u16, u32)> = (0..count).map(|number| (number, 1)).collect();
        let fewer: Vec<_> = all
            .iter()
            .copied()
            .filter(|(number, _)| *number != 1)
            .collect();
        for (before, after) in [(&all, &fewer), (&fewer, &all)] {
            let share = disturbed(before, after);
            println!(
                "{} to {} servers: {:.2} %",
                before.len(),
                after.len(),
                100.0 * share
            );
            assert!(share < most, "{count} servers: {share}");
        }
    }
}

#[test]
fn the_whole_table_can_be_built_for_the_largest_fleet() {
    let all: Vec<(u16, u32)> = (0..4096)
        .map(|number| (number, 1 + u32::from(number % 2) * 9999))
        .collect();
    let places = owners(&all);
    let mut counts = vec![0; 4096];
    places
        .iter()
        .for_each(|owner| counts[usize::from(*owner)] += 1);
    let light = counts.iter().step_by(2).max().unwrap();
    let heavy = counts.iter().skip(1).step_by(2).min().unwrap();
    assert!(light <= &1 && heavy >= &31, "{light} {heavy}");
}
