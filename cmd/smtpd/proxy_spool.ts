/** smtpd_proxy_options = speed_adjust: a message waits in a file without a name until all of it is there, then goes to the filter at full speed. */

import { warning } from "../../lib/log/log.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { closeSync, readSync, writeSync } from "../../lib/sys/fs.ts";
import { FILTER_FAILURE, type ForwardedValues, ProxyDialogue, type ProxySettings } from "./proxy_dialogue.ts";
import type { ProxyRefusal, ProxyTarget, ProxyVerdict } from "./proxy_target.ts";
import type { SessionServices } from "./services.ts";

const CHUNK = 64 * 1024;

export class ProxySpool implements ProxyTarget {
  /** MAIL, the recipients (no more than smtpd_recipient_limit), DATA. */
  private readonly commands: Array<readonly [line: string, expected: "2" | "3"]> = [];
  private gathered: Uint8Array[] = [];
  private gatheredSize = 0;
  private failed = false;
  private closed = false;

  private constructor(
    private readonly services: SessionServices,
    private readonly settings: ProxySettings,
    private readonly forwarded: ForwardedValues,
    private readonly fd: number,
  ) {}

  static create(
    services: SessionServices,
    settings: ProxySettings,
    forwarded: ForwardedValues,
  ): ProxySpool | ProxyRefusal {
    try {
      return new ProxySpool(services, settings, forwarded, services.openSpool());
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      warning(`unable to create proxy speed-adjust file: ${errorText(error)}`);
      return FILTER_FAILURE;
    }
  }

  async command(line: string, expected: "2" | "3"): Promise<undefined> {
    this.commands.push([line, expected]);
  }

  write(bytes: Uint8Array): void {
    this.gathered.push(bytes);
    this.gatheredSize += bytes.length;
  }
  get full(): boolean {
    return this.gatheredSize >= CHUNK;
  }
  get writable(): boolean {
    return !this.failed;
  }

  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.gathered);
    this.gathered = [];
    this.gatheredSize = 0;
    if (this.failed) return;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.fd, bytes, at);
    } catch (error) {
      warning(`write proxy speed-adjust file: ${errorText(error)}`);
      this.failed = true;
    }
  }

  async finish(): Promise<ProxyVerdict> {
    await this.flush();
    const refused = ({ reply, errorClass }: ProxyRefusal): ProxyVerdict => ({
      accepted: false,
      reply,
      errorClass,
    });
    if (this.failed) return refused(FILTER_FAILURE);
    const dialogue = await ProxyDialogue.open(this.services, this.settings, this.forwarded);
    try {
      if ("reply" in dialogue) return refused(dialogue);
      for (const [line, expected] of this.commands) {
        const answer = await dialogue.command(line, expected);
        if (!answer.ok) return refused(answer);
      }
      return (await this.send(dialogue)) ? await dialogue.finish() : refused(FILTER_FAILURE);
    } finally {
      if (!("reply" in dialogue)) dialogue.quit();
      this.quit();
    }
  }

  /** Sends the file; false when it cannot be read (logged) or the filter is gone. */
  private async send(dialogue: ProxyDialogue): Promise<boolean> {
    for (let position = 0; dialogue.alive; ) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      let count: number;
      try {
        count = readSync(this.fd, chunk, 0, CHUNK, position);
      } catch (error) {
        warning(`read proxy speed-adjust file: ${errorText(error)}`);
        return false;
      }
      if (count === 0) return true;
      position += count;
      dialogue.channel.write(chunk.subarray(0, count));
      try {
        await dialogue.channel.flush();
      } catch (error) {
        dialogue.lost(error);
      }
    }
    return false;
  }

  quit(): void {
    if (this.closed) return;
    this.closed = true;
    closeSync(this.fd);
  }
}
