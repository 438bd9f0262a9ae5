// What was said in a call, by both sides, in order. Owns the turns; must not know how they are shown.

import type { JsonObject, PlaybackPosition } from "legato-voice";

import { Spoken } from "./spoken.ts";

export interface Turn {
  readonly id: string;
  readonly who: "person" | "agent";
  /** "open": still spoken or still recognised. "interrupted": what was not heard will not be. */
  readonly state: "open" | "done" | "interrupted";
  readonly text: string;
  /** How much of the text was heard; all of what a person said. */
  readonly heard: number;
}

interface Words {
  text: string;
  state: Turn["state"];
}

export class Conversation {
  private readonly order: string[] = [];
  private readonly persons = new Map<string, Words>();
  private readonly replies = new Map<string, { spoken: Spoken; state: Turn["state"] }>();
  private readonly arrivedMs = new Map<number, number>();

  /** Everything so far, without what turned out to be no words. */
  get turns(): Turn[] {
    return this.order.map((id) => this.turn(id)).filter(({ text, who, state }) => text || (who === "person" && state === "open"));
  }

  /** Take an event of the server; whether anything changed. */
  event(event: JsonObject): boolean {
    const id = event.item_id;
    if (typeof id !== "string") return false;
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.person(id);
        return true;
      case "conversation.item.input_audio_transcription.delta":
        this.person(id).text += String(event.delta ?? "");
        return true;
      case "conversation.item.input_audio_transcription.completed":
        Object.assign(this.person(id), { text: String(event.transcript ?? "").trim(), state: "done" });
        return true;
      case "conversation.item.input_audio_transcription.failed":
        Object.assign(this.person(id), { state: "done" });
        return true;
      case "response.output_audio_transcript.delta":
        this.reply(id).spoken.say(String(event.delta ?? ""));
        return true;
      default:
        return false;
    }
  }

  /** What a person wrote instead of saying it. */
  wrote(id: string, text: string): void {
    Object.assign(this.person(id), { text, state: "done" });
  }

  /** Audio of a reply has arrived. */
  audio(generation: number, itemId: string, ms: number): void {
    const all = (this.arrivedMs.get(generation) ?? 0) + ms;
    this.arrivedMs.set(generation, all);
    this.reply(itemId).spoken.arrived(all);
  }

  /** The player has got on. */
  playback({ itemId, heardMs, state }: PlaybackPosition): void {
    const reply = this.reply(itemId);
    reply.spoken.listened(heardMs);
    if (state === "done" && reply.state === "open") {
      reply.spoken.finish();
      reply.state = "done";
    } else if (state === "stopped") {
      reply.state = "interrupted";
    }
  }

  /** The call is over: nothing more will be heard, or recognised. */
  end(): void {
    for (const reply of this.replies.values()) if (reply.state === "open") reply.state = "interrupted";
    for (const words of this.persons.values()) words.state = "done";
  }

  private turn(id: string): Turn {
    const reply = this.replies.get(id);
    if (!reply) {
      const { text, state } = this.persons.get(id)!;
      return { id, who: "person", state, text, heard: text.length };
    }
    const { spoken, state } = reply;
    return { id, who: "agent", state, text: spoken.text, heard: spoken.heardCharacters };
  }

  private person(id: string): Words {
    let words = this.persons.get(id);
    if (!words) {
      words = { text: "", state: "open" };
      this.persons.set(id, words);
      this.order.push(id);
    }
    return words;
  }

  private reply(id: string): { spoken: Spoken; state: Turn["state"] } {
    let reply = this.replies.get(id);
    if (!reply) {
      reply = { spoken: new Spoken(), state: "open" };
      this.replies.set(id, reply);
      this.order.push(id);
    }
    return reply;
  }
}
