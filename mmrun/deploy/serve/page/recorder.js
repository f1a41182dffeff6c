/** An audio worklet that passes on the samples of one channel. */
class Tap extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
}
registerProcessor("tap", Tap);
