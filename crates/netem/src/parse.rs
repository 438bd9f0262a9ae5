//! The file format of networks: TOML in, a checked [`Network`] out, or one line that says what is wrong.
//!
//! Owns names, units and limits of what may be written. People write milliseconds, percent and kilobits; the timeline has
//! microseconds, millionths and bits. The conversion is the only floating point there is, one multiplication and a rounding,
//! which every machine does alike.

use std::fmt;

use serde::Deserialize;

use crate::network::{Addressing, Network, Segment};
use crate::profile::{Burst, BurstUnit, Direction, JitterShape, Profile};

/// Why a text is no network: one line, with the network's name in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError(pub(crate) String);

impl fmt::Display for NetworkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NetworkError {}

const MAX_MS: f64 = 60_000.0;
/// A story, or one round of it, lasts at most a day.
const MAX_STORY_MS: f64 = 86_400_000.0;
/// A shorter round would make the work per packet unbounded on a slow link.
const MIN_REPEAT_MS: f64 = 100.0;
const MIN_RATE_KBPS: f64 = 8.0;
const MAX_RATE_KBPS: f64 = 10_000_000.0;
const MAX_QUEUE_KB: f64 = 16_384.0;
const MAX_EVENTS: usize = 1_000;
const MAX_BURST_PACKETS: f64 = 100_000.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    repeat_ms: Option<f64>,
    both: Option<Layer>,
    up: Option<Layer>,
    down: Option<Layer>,
    #[serde(default)]
    event: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    at_ms: f64,
    for_ms: Option<f64>,
    both: Option<Layer>,
    up: Option<Layer>,
    down: Option<Layer>,
    rebind: Option<Rebind>,
    #[serde(default)]
    roam: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rebind {
    Port,
    Address,
}

/// What a table says of a direction; what it leaves out stays as it was.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Layer {
    delay_ms: Option<f64>,
    jitter_ms: Option<f64>,
    jitter: Option<Shape>,
    overtaking: Option<bool>,
    loss_percent: Option<f64>,
    burst: Option<BurstTable>,
    reorder_percent: Option<f64>,
    reorder_ms: Option<f64>,
    duplicate_percent: Option<f64>,
    rate_kbps: Option<f64>,
    queue_ms: Option<f64>,
    queue_kb: Option<f64>,
    stall: Option<bool>,
    blackout: Option<bool>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Shape {
    Uniform,
    Bell,
    Exponential,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BurstTable {
    good_ms: Option<f64>,
    bad_ms: Option<f64>,
    good_packets: Option<f64>,
    bad_packets: Option<f64>,
    loss_good_percent: Option<f64>,
    loss_bad_percent: Option<f64>,
}

/// A profile in the making: the queue may be given in time, and then follows the rate.
#[derive(Clone)]
struct Draft {
    profile: Profile,
    queue_us: Option<u64>,
    has_queue: bool,
}

pub(crate) fn network(name: &str, text: &str) -> Result<Network, NetworkError> {
    let file: File =
        toml::from_str(text).map_err(|error| NetworkError(describe(name, text, &error)))?;
    check(file)
        .map_err(|problem| NetworkError(format!("{name}: {problem}")))
        .map(|network| Network {
            name: name.to_owned(),
            ..network
        })
}

/// One line in place of the drawing that the parser makes.
fn describe(name: &str, text: &str, error: &toml::de::Error) -> String {
    let message = error
        .message()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    match error.span() {
        Some(span) if span.start > 0 => {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            format!("{name}: line {line}: {message}")
        }
        _ => format!("{name}: {message}"),
    }
}

fn check(file: File) -> Result<Network, String> {
    if file.about.trim().is_empty() || file.about.contains('\n') {
        return Err("about must say in one line what this network is".into());
    }
    if file.event.len() > MAX_EVENTS {
        return Err(format!("more than {MAX_EVENTS} events"));
    }
    let repeat_us = match file.repeat_ms {
        Some(ms) => Some(micros("repeat_ms", ms, MIN_REPEAT_MS, MAX_STORY_MS)?),
        None => None,
    };
    let mut base = [Draft::perfect(), Draft::perfect()];
    apply(&mut base, [&file.both, &file.up, &file.down])?;
    let calm = finish(&base)?;
    let mut spans = Vec::new();
    let mut changes = Vec::new();
    for (index, event) in file.event.iter().enumerate() {
        let in_event = |problem: String| format!("event {}: {problem}", index + 1);
        let (start, end) = times(event, repeat_us).map_err(in_event)?;
        spans.push((start, end));
        changes.extend(change(event).map(|change| (start, change)));
        // What an event says is checked alone, so that the error names it.
        let mut alone = base.clone();
        apply(&mut alone, [&event.both, &event.up, &event.down]).map_err(in_event)?;
        finish(&alone).map_err(in_event)?;
    }
    changes.sort_by_key(|&(at, _)| at);
    let segments = segments(&base, &file.event, &spans)?;
    let for_ever = repeat_us.is_none();
    for (index, direction) in Direction::BOTH.iter().enumerate() {
        let last = segments.last().filter(|last| last.profiles[index].stall);
        let always = segments.iter().all(|segment| segment.profiles[index].stall);
        if always || (for_ever && last.is_some()) {
            return Err(format!(
                "{direction:?} stalls and never goes on: give the event for_ms, or use blackout"
            ));
        }
    }
    Ok(Network {
        name: String::new(),
        about: file.about,
        calm,
        segments,
        changes,
        repeat_us,
    })
}

/// Start and end of an event, `u64::MAX` if it stays.
fn times(event: &Event, repeat_us: Option<u64>) -> Result<(u64, u64), String> {
    let start = micros("at_ms", event.at_ms, 0.0, MAX_STORY_MS)?;
    let end = match event.for_ms {
        Some(ms) => start + micros("for_ms", ms, 0.001, MAX_STORY_MS)?,
        None => u64::MAX,
    };
    if let Some(repeat) = repeat_us {
        if start >= repeat || (end != u64::MAX && end > repeat) {
            return Err("it must be over before repeat_ms".into());
        }
    }
    let layers = [&event.both, &event.up, &event.down];
    let has_layer = layers.iter().any(|layer| layer.is_some());
    if !has_layer && !event.roam && event.rebind.is_none() {
        return Err("it changes nothing: give it both, up, down, rebind or roam".into());
    }
    if !has_layer && event.for_ms.is_some() {
        return Err("for_ms needs both, up or down: a changed address does not change back".into());
    }
    Ok((start, end))
}

fn change(event: &Event) -> Option<Addressing> {
    let change = Addressing {
        ports: u32::from(matches!(event.rebind, Some(Rebind::Port))),
        addresses: u32::from(matches!(event.rebind, Some(Rebind::Address))),
        roams: u32::from(event.roam),
    };
    (change != Addressing::default()).then_some(change)
}

/// Cut time where an event begins or ends. Of events at the same time the later one in the file has the last word.
fn segments(
    base: &[Draft; 2],
    events: &[Event],
    spans: &[(u64, u64)],
) -> Result<Vec<Segment>, String> {
    let mut cuts: Vec<u64> = spans
        .iter()
        .flat_map(|&(start, end)| [start, end])
        .chain([0])
        .collect();
    cuts.retain(|&cut| cut != u64::MAX);
    cuts.sort_unstable();
    cuts.dedup();
    let mut segments: Vec<Segment> = Vec::new();
    for start_us in cuts {
        let mut drafts = base.clone();
        for (event, &(start, end)) in events.iter().zip(spans) {
            if start <= start_us && start_us < end {
                apply(&mut drafts, [&event.both, &event.up, &event.down])?;
            }
        }
        let profiles = finish(&drafts)?;
        if segments.last().is_none_or(|last| last.profiles != profiles) {
            segments.push(Segment { start_us, profiles });
        }
    }
    Ok(segments)
}

fn apply(drafts: &mut [Draft; 2], [both, up, down]: [&Option<Layer>; 3]) -> Result<(), String> {
    for (draft, own) in drafts.iter_mut().zip([("up", up), ("down", down)]) {
        for (name, layer) in [("both", both), own] {
            if let Some(layer) = layer {
                draft
                    .apply(layer)
                    .map_err(|problem| format!("{name}: {problem}"))?;
            }
        }
    }
    Ok(())
}

fn finish(drafts: &[Draft; 2]) -> Result<[Profile; 2], String> {
    let [up, down] = drafts;
    Ok([
        up.finish().map_err(|problem| format!("up: {problem}"))?,
        down.finish()
            .map_err(|problem| format!("down: {problem}"))?,
    ])
}

impl Draft {
    fn perfect() -> Self {
        Self {
            profile: Profile::PERFECT,
            queue_us: None,
            has_queue: false,
        }
    }

    fn apply(&mut self, layer: &Layer) -> Result<(), String> {
        let profile = &mut self.profile;
        let time = |name, value: Option<f64>, old| {
            value.map_or(Ok(old), |ms| micros(name, ms, 0.0, MAX_MS))
        };
        profile.delay_us = time("delay_ms", layer.delay_ms, profile.delay_us)?;
        profile.jitter.us = time("jitter_ms", layer.jitter_ms, profile.jitter.us)?;
        profile.reorder_us = time("reorder_ms", layer.reorder_ms, profile.reorder_us)?;
        let share = |name, value: Option<f64>, old| {
            value.map_or(Ok(old), |percent| millionths(name, percent))
        };
        profile.loss_ppm = share("loss_percent", layer.loss_percent, profile.loss_ppm)?;
        profile.reorder_ppm = share(
            "reorder_percent",
            layer.reorder_percent,
            profile.reorder_ppm,
        )?;
        profile.duplicate_ppm = share(
            "duplicate_percent",
            layer.duplicate_percent,
            profile.duplicate_ppm,
        )?;
        profile.jitter.overtaking = layer.overtaking.unwrap_or(profile.jitter.overtaking);
        profile.jitter.shape = layer.jitter.map_or(profile.jitter.shape, JitterShape::from);
        profile.stall = layer.stall.unwrap_or(profile.stall);
        profile.blackout = layer.blackout.unwrap_or(profile.blackout);
        if let Some(table) = &layer.burst {
            profile.burst = Some(
                table
                    .burst()
                    .map_err(|problem| format!("burst: {problem}"))?,
            );
        }
        if let Some(kbps) = layer.rate_kbps {
            profile.rate_bps = Some(rate(kbps)?);
        }
        match (layer.queue_ms, layer.queue_kb) {
            (Some(_), Some(_)) => return Err("give queue_ms or queue_kb, not both".into()),
            (Some(ms), None) => self.queue_us = Some(micros("queue_ms", ms, 1.0, MAX_MS)?),
            (None, Some(kb)) => {
                between("queue_kb", kb, 1.0, MAX_QUEUE_KB)?;
                (self.queue_us, self.profile.queue_bytes) = (None, (kb * 1_000.0).round() as u64);
            }
            (None, None) => return Ok(()),
        }
        self.has_queue = true;
        Ok(())
    }

    fn finish(&self) -> Result<Profile, String> {
        let mut profile = self.profile.clone();
        match (profile.rate_bps, self.has_queue) {
            (Some(_), false) => {
                return Err("rate_kbps needs queue_ms or queue_kb: how much may wait".into())
            }
            (None, true) => {
                return Err("a queue needs rate_kbps: without a rate nothing waits".into())
            }
            (None, false) if profile.stall => {
                return Err("stall needs rate_kbps and a queue to wait in".into())
            }
            _ => {}
        }
        if let (Some(rate), Some(us)) = (profile.rate_bps, self.queue_us) {
            let bytes = u128::from(rate) * u128::from(us) / 8_000_000;
            if bytes as f64 > MAX_QUEUE_KB * 1_000.0 {
                return Err(format!(
                    "queue_ms at this rate is more than {MAX_QUEUE_KB} kB"
                ));
            }
            profile.queue_bytes = bytes as u64;
        }
        if profile.reorder_ppm > 0 && profile.reorder_us == 0 {
            return Err(
                "reorder_percent needs reorder_ms: how long those packets are held back".into(),
            );
        }
        if profile.reorder_us > 0 && profile.reorder_ppm == 0 {
            return Err("reorder_ms needs reorder_percent: how many packets are held back".into());
        }
        Ok(profile)
    }
}

impl BurstTable {
    fn burst(&self) -> Result<Burst, String> {
        let (unit, good, bad) = match (
            self.good_ms,
            self.bad_ms,
            self.good_packets,
            self.bad_packets,
        ) {
            (Some(good), Some(bad), None, None) => {
                let good = micros("good_ms", good, 1.0, MAX_STORY_MS)?;
                (BurstUnit::Us, good, micros("bad_ms", bad, 1.0, MAX_MS)?)
            }
            (None, None, Some(good), Some(bad)) => {
                between("good_packets", good, 1.0, MAX_BURST_PACKETS)?;
                between("bad_packets", bad, 1.0, MAX_BURST_PACKETS)?;
                (BurstUnit::Packets, good.round() as u64, bad.round() as u64)
            }
            _ => return Err("give good_ms and bad_ms, or good_packets and bad_packets".into()),
        };
        Ok(Burst {
            unit,
            good,
            bad,
            loss_good_ppm: millionths("loss_good_percent", self.loss_good_percent.unwrap_or(0.0))?,
            loss_bad_ppm: millionths("loss_bad_percent", self.loss_bad_percent.unwrap_or(100.0))?,
        })
    }
}

impl From<Shape> for JitterShape {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Uniform => Self::Uniform,
            Shape::Bell => Self::Bell,
            Shape::Exponential => Self::Exponential,
        }
    }
}

fn between(name: &str, value: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!(
        "{name} = {value} must be between {least} and {most}"
    ))
}

fn micros(name: &str, ms: f64, least: f64, most: f64) -> Result<u64, String> {
    between(name, ms, least, most)?;
    Ok((ms * 1_000.0).round() as u64)
}

fn millionths(name: &str, percent: f64) -> Result<u32, String> {
    between(name, percent, 0.0, 100.0)?;
    Ok((percent * 10_000.0).round() as u32)
}

fn rate(kbps: f64) -> Result<u64, String> {
    if kbps == 0.0 {
        return Err(
            "rate_kbps = 0: use blackout (packets are gone) or stall (packets wait)".into(),
        );
    }
    between("rate_kbps", kbps, MIN_RATE_KBPS, MAX_RATE_KBPS)?;
    Ok((kbps * 1_000.0).round() as u64)
}
