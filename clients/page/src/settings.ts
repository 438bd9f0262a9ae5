// The settings of the page: devices, what is done to the microphone's sound, appearance.
//
// Owns the dialog and what is remembered of it. Must not know calls.

import type { MicrophoneOptions } from "legato-voice";

const STORED = "legato.settings";

interface Kept {
  theme: string;
  echo: boolean;
  noise: boolean;
  gain: boolean;
  local: boolean;
}

export interface SettingsEvents {
  microphone(): void;
  speaker(deviceId: string): void;
  theme(): void;
}

export class Settings {
  private readonly dialog = find<HTMLDialogElement>("settings");
  private readonly microphones = find<HTMLSelectElement>("microphone");
  private readonly speakers = find<HTMLSelectElement>("speaker");
  private readonly theme = find<HTMLSelectElement>("theme");
  private readonly boxes = {
    echo: find<HTMLInputElement>("echo"),
    noise: find<HTMLInputElement>("noise"),
    gain: find<HTMLInputElement>("gain"),
    local: find<HTMLInputElement>("local"),
  };

  constructor(events: SettingsEvents) {
    this.restore();
    this.applyTheme();
    find("open-settings").addEventListener("click", () => {
      void this.list();
      this.dialog.showModal();
    });
    // A click beside the dialog is one on its backdrop.
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.theme.addEventListener("change", () => {
      this.applyTheme();
      this.keep();
      events.theme();
    });
    for (const box of Object.values(this.boxes)) box.addEventListener("change", () => this.keep());
    for (const input of [this.microphones, this.boxes.echo, this.boxes.noise, this.boxes.gain]) {
      input.addEventListener("change", () => events.microphone());
    }
    this.speakers.addEventListener("change", () => events.speaker(this.speakers.value));
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.list());
  }

  get open(): boolean {
    return this.dialog.open;
  }

  get microphone(): MicrophoneOptions {
    const { echo, noise, gain } = this.boxes;
    const chosen = this.microphones.value;
    const treated = { echoCancellation: echo.checked, noiseSuppression: noise.checked, autoGainControl: gain.checked };
    return { ...treated, ...(chosen ? { deviceId: chosen } : {}) };
  }

  get speaker(): string {
    return this.speakers.value;
  }

  /** Who goes quiet first when somebody interrupts. */
  get bargeIn(): "local" | "server" {
    return this.boxes.local.checked ? "local" : "server";
  }

  private async list(): Promise<void> {
    const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    fill(this.microphones, devices.filter(({ kind }) => kind === "audioinput"));
    fill(this.speakers, devices.filter(({ kind }) => kind === "audiooutput"));
  }

  private applyTheme(): void {
    const { value } = this.theme;
    if (value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = value;
  }

  private keep(): void {
    const { echo, noise, gain, local } = this.boxes;
    const kept: Kept = {
      ...{ theme: this.theme.value, echo: echo.checked, noise: noise.checked, gain: gain.checked, local: local.checked },
    };
    try {
      localStorage.setItem(STORED, JSON.stringify(kept));
    } catch {
      // They count for as long as the page is open.
    }
  }

  private restore(): void {
    try {
      const kept = JSON.parse(localStorage.getItem(STORED) ?? "{}") as Partial<Kept>;
      if (["light", "dark"].includes(kept.theme ?? "")) this.theme.value = kept.theme!;
      for (const [name, box] of Object.entries(this.boxes)) box.checked = kept[name as keyof typeof this.boxes] ?? box.checked;
    } catch {
      // As if nothing had been kept.
    }
  }
}

/** An element of the document. */
export function find<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** The devices there are; the choice stays as long as it is one of them. */
function fill(select: HTMLSelectElement, devices: MediaDeviceInfo[]): void {
  const chosen = select.value;
  const [first] = select.options;
  const named = devices.filter(({ deviceId }) => deviceId && deviceId !== "default");
  const options = named.map(({ deviceId, label }, at) => new Option(label || `Device ${at + 1}`, deviceId));
  select.replaceChildren(first!, ...options);
  select.value = named.some(({ deviceId }) => deviceId === chosen) ? chosen : "";
}
