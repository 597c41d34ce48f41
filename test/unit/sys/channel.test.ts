import t from "tap";
import { Channel, type Transport } from "../../../lib/sys/channel.ts";

/** A socket that gives a piece of its input each time that it may. */
class Source implements Transport {
  paused = false;
  constructor(
    private readonly channel: Channel,
    private left: number,
  ) {
    channel.attach(this);
  }
  run(): void {
    while (!this.paused && this.left > 0) {
      const piece = Math.min(this.left, 64 * 1024);
      this.left -= piece;
      this.channel.onData(Buffer.alloc(piece, 0x78));
    }
  }
  write(bytes: Uint8Array): number {
    return bytes.length;
  }
  end(): void {}
  terminate(): void {}
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
    queueMicrotask(() => this.run());
  }
}

t.test("a reader that wants more than is buffered without consuming gets it", async (t) => {
  const channel = new Channel("test", 5);
  const source = new Source(channel, 1_000_000);
  source.run();
  t.ok(source.paused, "input stops while nobody asks");
  t.ok(channel.buffered < 400_000);
  const bytes = await channel.readExactly(900_000);
  t.equal(bytes?.length, 900_000);
  t.equal(await channel.readUntil(0, 50_000), "long");
});
