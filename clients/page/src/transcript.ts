// The conversation on the page. Owns its elements; must not know where words come from.

import type { Turn } from "./conversation.ts";

const NAMES = { person: "You", agent: "legato" } as const;
/** Closer to the end than this, the text is followed. */
const NEAR_PX = 80;

interface Row {
  readonly item: HTMLLIElement;
  readonly heard: HTMLSpanElement;
  readonly unheard: HTMLSpanElement;
  readonly note: HTMLSpanElement;
  readonly verdict: HTMLParagraphElement;
  shown: string;
}

export class Transcript {
  private readonly rows = new Map<string, Row>();
  private readonly told = new Set<string>();

  /** `log` is read out by screen readers: each sentence once, when it is settled. */
  constructor(
    private readonly list: HTMLElement,
    private readonly log: HTMLElement,
  ) {}

  show(turns: readonly Turn[]): void {
    const { list } = this;
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_PX;
    list.hidden = turns.length === 0;
    for (const [id, { item }] of this.rows) if (!turns.some((turn) => turn.id === id)) this.drop(id, item);
    for (const turn of turns) this.paint(turn);
    if (follows) list.scrollTop = list.scrollHeight;
  }

  clear(): void {
    for (const [id, { item }] of this.rows) this.drop(id, item);
    this.told.clear();
    this.log.textContent = "";
  }

  private drop(id: string, item: HTMLLIElement): void {
    item.remove();
    this.rows.delete(id);
  }

  private paint(turn: Turn): void {
    const row = this.rows.get(turn.id) ?? this.add(turn);
    const shown = `${turn.state} ${turn.heard} ${turn.text}`;
    if (row.shown === shown) return;
    row.shown = shown;
    row.item.dataset.state = turn.state;
    const cut = turn.state === "interrupted" && turn.heard < turn.text.length;
    row.heard.textContent = turn.text.slice(0, turn.heard);
    row.unheard.textContent = turn.text.slice(turn.heard);
    row.note.textContent = cut ? " (what follows was not heard) " : "";
    row.verdict.hidden = !cut;
    row.verdict.textContent = turn.heard ? "interrupted here; the rest was sent and never heard" : "interrupted before a word was heard";
    if (turn.state !== "open") this.tell(turn, cut);
  }

  private tell(turn: Turn, cut: boolean): void {
    if (this.told.has(turn.id) || !turn.text) return;
    this.told.add(turn.id);
    const line = document.createElement("span");
    line.textContent = `${NAMES[turn.who]}: ${cut ? turn.text.slice(0, turn.heard) : turn.text}${cut ? " – interrupted" : ""} `;
    this.log.append(line);
  }

  private add(turn: Turn): Row {
    const item = document.createElement("li");
    item.className = `turn ${turn.who}`;
    const who = element("span", "who", NAMES[turn.who]);
    const words = element("p", "words");
    const [heard, note, unheard] = [element("span", "heard"), element("span", "unseen"), element("span", "unheard")];
    if (turn.who === "person") words.append(heard);
    else words.append(heard, note, unheard);
    const verdict = element("p", "verdict");
    verdict.hidden = true;
    item.append(who, words, verdict);
    this.list.append(item);
    const row = { item, heard, unheard, note, verdict, shown: "" };
    this.rows.set(turn.id, row);
    return row;
  }
}

function element<Name extends "span" | "p">(name: Name, className: string, text = ""): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
