// In the audio thread: what is played is the clock of the pictures; the microphone in pieces of 20 ms.
const AHEAD = 16000 * 0.06;

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.pieces = [];
    this.have = this.at = 0;
    this.started = false;
    this.port.onmessage = ({ data }) => {
      if (data.clear) { this.pieces = []; this.have = this.at = 0; this.started = false; return; }
      this.pieces.push(data);
      this.have += data.samples.length;
      for (; this.have > 16000 * 0.6; this.at = 0) this.have -= this.pieces.shift().samples.length - this.at;
    };
  }
  process(_, [[out]]) {
    if (!this.started && this.have < AHEAD) return true;
    this.started = true;
    for (let i = 0; i < out.length; i++) {
      const piece = this.pieces[0];
      if (!piece) { this.started = false; break; }
      if (this.at === 0) this.port.postMessage(piece.index);
      out[i] = piece.samples[this.at++];
      this.have--;
      if (this.at >= piece.samples.length) { this.pieces.shift(); this.at = 0; }
    }
    return true;
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
