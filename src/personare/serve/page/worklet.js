// In the audio thread: what is played is the clock of the pictures, with as little in hand as the
// network allows; the microphone in pieces of 20 ms.
const LEAST = 0.02 * sampleRate, MOST = 0.2 * sampleRate, FASTER = 0.04;

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.target = LEAST; // samples that are left when the next piece comes; more after a gap in speech
    this.clear();
    this.port.onmessage = ({ data }) => {
      if (data.clear) return this.clear();
      this.queue.push(data);
      this.have += data.sound.length;
      while (this.have > sampleRate / 2) this.go(this.queue[0].sound.length - this.at);
    };
  }

  clear() {
    Object.assign(this, { queue: [], at: 0, have: 0, playing: false, gap: sampleRate });
  }

  process(_, [[out]]) {
    if (!this.playing) {
      this.gap += out.length;
      if (!this.have || this.have < this.target + this.queue[0].sound.length) return true;
      if (!this.rest && this.gap < sampleRate / 2) this.target = Math.min(this.target + LEAST, MOST);
      Object.assign(this, { playing: true, low: Infinity, heard: 0, surplus: 0 });
    }
    for (let i = 0; i < out.length; i++) {
      while (this.surplus >= 1 && this.queue[0]?.rest) {
        const left = Math.min(this.surplus, this.queue[0].sound.length - this.at);
        this.surplus -= left;
        this.go(left);
      }
      const piece = this.queue[0];
      if (!piece) {
        Object.assign(this, { playing: false, gap: 0 });
        return true;
      }
      if (!piece.told) this.port.postMessage(piece.index);
      piece.told = true;
      this.rest = piece.rest;
      const whole = Math.floor(this.at), value = piece.sound[whole];
      out[i] = value + (this.at - whole) * ((piece.sound[whole + 1] ?? value) - value);
      this.go(this.surplus > 0 ? 1 + FASTER : 1 - (this.at % 1));
      this.surplus -= FASTER;
    }
    this.low = Math.min(this.low, this.have);
    this.heard += out.length;
    if (this.heard < sampleRate) return true;
    Object.assign(this, { surplus: this.low - this.target, low: Infinity, heard: 0 });
    this.target = Math.max(LEAST, this.target * 0.95);
    return true;
  }

  go(samples) {
    this.at += samples;
    this.have -= samples;
    while (this.queue.length && this.at >= this.queue[0].sound.length) this.at -= this.queue.shift().sound.length;
    if (!this.queue.length) this.at = this.have = 0;
  }
}

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(320);
    this.at = 0;
  }
  process([[heard]]) {
    for (const value of heard ?? []) {
      this.piece[this.at++] = Math.max(-1, Math.min(1, value)) * 32767;
      if (this.at === this.piece.length) {
        this.port.postMessage(this.piece.slice());
        this.at = 0;
      }
    }
    return true;
  }
}

registerProcessor("player", Player);
registerProcessor("microphone", Microphone);
