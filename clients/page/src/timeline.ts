// The score: who sounded when, what waits to sound, and how the network did. Time runs to the left, past a line that is
// now; what lies right of it has arrived and was not heard yet.
//
// Owns the canvas. Must not know calls.

import { BIN_MS, type History, type PathKind, type ReplyTrack } from "./history.ts";

interface Palette {
  sheet: string;
  ink: string;
  soft: string;
  faint: string;
  line: string;
  accent: string;
}

/** Where things are, in CSS pixels. */
interface Place {
  width: number;
  height: number;
  /** Of "now". */
  x: number;
  pxPerMs: number;
  now: number;
  voice: Lane;
  reply: Lane;
  network: Lane;
}

interface Lane {
  top: number;
  middle: number;
  height: number;
}

const LEFT = 84;
const AXIS_PX = 18;
const BAR_PX = 3;
const GAP_PX = 1.5;
/** What has arrived and was not heard yet is paler, and fades when it is dropped. */
const SENT_ALPHA = 0.34;
const FADE_MS = 2_500;
/** Between which round trips the network's line moves. */
const RTT_LOW_MS = 5;
const RTT_HIGH_MS = 1_000;
const PATHS: Readonly<Record<PathKind, string>> = {
  ...{ webtransport: "WebTransport", websocket: "WebSocket", weak: "silent", held: "paused", none: "" },
};

export class Timeline {
  private readonly context: CanvasRenderingContext2D;
  private palette: Palette;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly history: History,
  ) {
    this.context = canvas.getContext("2d")!;
    this.palette = this.readPalette();
  }

  /** The theme has changed. */
  restyle(): void {
    this.palette = this.readPalette();
  }

  paint(now: number): void {
    const place = this.fit(now);
    if (!place) return;
    const { context } = this;
    context.clearRect(0, 0, place.width, place.height);
    context.font = '500 11px "Instrument Sans", system-ui, sans-serif';
    context.textBaseline = "middle";
    this.axis(place);
    this.voice(place);
    this.replies(place);
    this.network(place);
    this.marks(place);
    this.names(place);
  }

  private fit(now: number): Place | null {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return null;
    const scale = Math.min(3, devicePixelRatio || 1);
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    const wide = width > 640;
    const x = Math.round(LEFT + (width - LEFT) * (wide ? 0.62 : 0.6));
    const room = height - AXIS_PX;
    const lane = (from: number, to: number): Lane => ({ top: room * from, middle: (room * (from + to)) / 2, height: room * (to - from) });
    const lanes = { voice: lane(0.03, 0.34), reply: lane(0.34, 0.7), network: lane(0.7, 1) };
    return { width, height, x, now, pxPerMs: (x - LEFT) / (wide ? 16_000 : 7_000), ...lanes };
  }

  private axis({ width, height, x, pxPerMs, voice, reply, network }: Place): void {
    const { context, palette } = this;
    context.fillStyle = palette.line;
    for (const { top } of [reply, network]) context.fillRect(0, Math.round(top), width, 1);
    context.textAlign = "center";
    const every = pxPerMs * 1_000 > 34 ? 2 : 5;
    for (let second = -40; second <= 20; second += every) {
      const at = x + second * 1_000 * pxPerMs;
      if (at < LEFT + 10 || at > width - 14) continue;
      context.fillStyle = palette.faint;
      if (second) context.fillText(`${second > 0 ? "+" : "−"}${Math.abs(second)} s`, at, height - AXIS_PX / 2 - 1);
    }
    context.fillStyle = palette.ink;
    context.fillText("now", x, height - AXIS_PX / 2 - 1);
    context.fillRect(x - 0.5, voice.top, 1, height - AXIS_PX - voice.top);
  }

  private voice({ x, now, pxPerMs, voice }: Place): void {
    const { context, palette } = this;
    const step = BAR_PX + GAP_PX;
    const loudest = new Map<number, number>();
    for (const { at, value } of this.history.voice) {
      const column = Math.floor((at * pxPerMs) / step);
      loudest.set(column, Math.max(loudest.get(column) ?? 0, value));
    }
    context.fillStyle = palette.ink;
    const [first, last] = [Math.min(...loudest.keys()), Math.max(...loudest.keys())];
    for (let column = first; column <= last; column += 1) {
      const left = x + column * step - now * pxPerMs;
      if (left > LEFT && left < x - BAR_PX) this.bar(left, voice, loudest.get(column) ?? 0);
    }
  }

  private replies(place: Place): void {
    for (const track of this.history.replies.values()) this.reply(track, place);
  }

  private reply(track: ReplyTrack, place: Place): void {
    const { now, x, pxPerMs, reply } = place;
    const step = BAR_PX + GAP_PX;
    const bins = Math.max(1, Math.round(step / pxPerMs / BIN_MS));
    const ms = bins * BIN_MS;
    for (let first = 0; first < track.envelope.length; first += bins) {
      const position = first * BIN_MS;
      const at = this.whenOf(track, position, now);
      if (at === null) continue;
      const left = x + (at.at - now) * pxPerMs;
      if (left < LEFT || left > place.width) continue;
      const level = Math.max(...track.envelope.slice(first, first + bins));
      this.context.fillStyle = this.palette.accent;
      this.context.globalAlpha = at.heard ? 1 : SENT_ALPHA * (at.dropped ? this.left(track, now) : 1);
      this.bar(left, reply, level, Math.max(1, Math.min(BAR_PX, ms * pxPerMs - 1)));
    }
    this.context.globalAlpha = 1;
  }

  /** How much is left to be seen of what was dropped. */
  private left(track: ReplyTrack, now: number): number {
    return Math.max(0, 1 - (now - track.stoppedAt!) / FADE_MS);
  }

  /** When a position of a reply was heard, or will be; for what was dropped, when it would have been. */
  private whenOf(track: ReplyTrack, position: number, now: number): { at: number; heard: boolean; dropped: boolean } | null {
    for (const { at, position: start, ms } of track.played) {
      if (position >= start && position < start + ms) return { at: at + position - start, heard: true, dropped: false };
    }
    const heard = track.heardAt(now);
    const { stoppedAt } = track;
    if (position < heard) return stoppedAt === null ? { at: now - (heard - position), heard: true, dropped: false } : null;
    const from = stoppedAt ?? now;
    return { at: from + position - heard, heard: false, dropped: stoppedAt !== null };
  }

  private network(place: Place): void {
    const { context, palette, history } = this;
    const { x, now, pxPerMs, network } = place;
    const at = (time: number): number => Math.max(LEFT, x + (time - now) * pxPerMs);
    const base = network.top + network.height - 9;
    for (const { from, to, kind } of history.stretches) {
      const [left, right] = [at(from), at(to)];
      if (right <= LEFT || kind === "none") continue;
      context.fillStyle = kind === "weak" || kind === "held" ? palette.accent : palette.faint;
      if (kind === "websocket") for (let dash = left; dash < right; dash += 7) context.fillRect(dash, base, Math.min(4, right - dash), 2);
      else if (kind === "webtransport") context.fillRect(left, base, right - left, 2);
      else this.hatch(left, right, network);
      const marked = history.marks.some((mark) => mark.kind === "path" && at(mark.at) < left + 170 && at(mark.at) > left - 30);
      const color = kind === "weak" || kind === "held" ? palette.accent : palette.soft;
      if (right - left > 84 && !marked) this.label(PATHS[kind], left + 4, network.top + 11, color);
    }
    this.line(place);
  }

  /** Words that nothing shines through. */
  private label(text: string, left: number, middle: number, color: string): void {
    const { context, palette } = this;
    context.fillStyle = palette.sheet;
    context.fillRect(left - 2, middle - 7, context.measureText(text).width + 5, 14);
    context.fillStyle = color;
    context.textAlign = "left";
    context.fillText(text, left, middle);
  }

  private hatch(left: number, right: number, lane: Lane): void {
    const { context, palette } = this;
    context.save();
    context.beginPath();
    context.rect(left, lane.top + 1, right - left, lane.height - 1);
    context.clip();
    context.strokeStyle = palette.accent;
    context.globalAlpha = 0.35;
    context.lineWidth = 1;
    context.beginPath();
    // The stripes move with the time they stand for.
    for (let from = left - lane.height - (left % 6); from < right; from += 6) {
      context.moveTo(from, lane.top + lane.height);
      context.lineTo(from + lane.height, lane.top);
    }
    context.stroke();
    context.restore();
  }

  private line({ x, now, pxPerMs, network }: Place): void {
    const { context, palette } = this;
    const span = Math.log(RTT_HIGH_MS / RTT_LOW_MS);
    const usable = network.height - 32;
    context.strokeStyle = palette.soft;
    context.lineWidth = 1.3;
    context.beginPath();
    let before = 0;
    for (const { at, value } of this.history.rtt) {
      const left = x + (at - now) * pxPerMs;
      if (left < LEFT) continue;
      const share = Math.min(1, Math.max(0, Math.log(Math.max(value, RTT_LOW_MS) / RTT_LOW_MS) / span));
      const top = network.top + network.height - 14 - share * usable;
      if (at - before > 1_500) context.moveTo(left, top);
      else context.lineTo(left, top);
      before = at;
    }
    context.stroke();
  }

  private marks({ x, now, pxPerMs, voice, network, width }: Place): void {
    const { context, palette } = this;
    const free = { interruption: width, path: width };
    // Where there is no room for two labels, the later one is read.
    for (const { at, kind, label } of [...this.history.marks].reverse()) {
      const left = Math.round(x + (at - now) * pxPerMs);
      if (left < LEFT) continue;
      const own = kind === "interruption";
      context.fillStyle = own ? palette.accent : palette.soft;
      const top = own ? voice.top : network.top;
      context.fillRect(left, top, own ? 1.5 : 1, network.top + network.height - top);
      if (left + 5 + context.measureText(label).width > free[kind]) continue;
      free[kind] = left;
      this.label(label, left + 5, own ? voice.top + 7 : network.top + 11, own ? palette.accent : palette.soft);
    }
  }

  private names({ voice, reply, network, height }: Place): void {
    const { context, palette } = this;
    context.fillStyle = palette.sheet;
    context.fillRect(0, 0, LEFT - 6, height);
    context.textAlign = "left";
    context.font = '500 12.5px "Instrument Sans", system-ui, sans-serif';
    for (const [name, { middle }, color] of [
      ["You", voice, palette.ink],
      ["legato", reply, palette.accent],
      ["Network", network, palette.soft],
    ] as const) {
      context.fillStyle = color;
      context.fillText(name, 20, middle);
    }
  }

  private bar(left: number, { middle, height }: Lane, level: number, width = BAR_PX): void {
    // Loudness as ears have it: a whisper is to be seen beside a shout.
    const tall = Math.max(2, Math.min(1, Math.sqrt(level)) * (height - 12));
    this.context.beginPath();
    // Older browsers draw no round corners.
    if (this.context.roundRect) this.context.roundRect(left, middle - tall / 2, width, tall, width / 2);
    else this.context.rect(left, middle - tall / 2, width, tall);
    this.context.fill();
  }

  private readPalette(): Palette {
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    return { sheet: color("sheet"), ink: color("ink"), soft: color("soft"), faint: color("faint"), line: color("line"), accent: color("accent") };
  }
}
