/** Settings of tables that have many: `type:/path/file.cf`, or old style `name_setting = value` in main.cf. */

import { configuration } from "../config/configuration.ts";
import { parseMainCf, readHotFile } from "../config/main_cf.ts";
import { fatal, warning } from "../log/log.ts";
import { equalFold } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { readDecimal } from "../sys/numbers.ts";
import { ownerOf, TableOpenError, type TableOwner } from "./table.ts";

export class TableSettings {
  private constructor(
    /** The file, or the name of the table. */
    readonly title: string,
    readonly owner: TableOwner,
    private readonly find: (name: string) => string | undefined,
    /** How a setting is named in messages: `FILE: ... NAME` or `... TABLE_NAME`. */
    private readonly where: string,
    private readonly namePrefix: string,
  ) {}

  /** Reads the settings of the table `name`. Throws TableOpenError. */
  static open(name: string): TableSettings {
    if (!name.startsWith("/") && !name.startsWith("./"))
      return new TableSettings(
        name,
        ownerOf(configuration().owner),
        (setting) => configuration().lookup(`${name}_${setting}`),
        "",
        `${name}_`,
      );
    try {
      const { parsed, uid } = readHotFile(name, (file) => ({
        parsed: parseMainCf(file.text, name),
        uid: file.uid,
      }));
      for (const text of parsed.warnings) warning(text);
      if (!parsed.ok) return fatal(parsed.error);
      const { entries } = parsed;
      return new TableSettings(name, ownerOf(uid), (setting) => entries.get(setting), `${name}: `, "");
    } catch (failure) {
      if (errorCode(failure) === undefined) throw failure;
      throw new TableOpenError(`open ${name}: ${errorText(failure)}`);
    }
  }

  /** A text; shorter than `least` is fatal. */
  text(setting: string, fallback: string, least = 0): string {
    const value = this.find(setting) ?? fallback;
    if (value.length < least)
      fatal(
        `${this.where}bad string length ${value.length} < ${least}: ${this.namePrefix}${setting} = ${value}`,
      );
    return value;
  }

  number(setting: string, fallback: number, least: number, most = Number.POSITIVE_INFINITY): number {
    const text = this.find(setting);
    if (text === undefined) return fallback;
    const value = readDecimal(text);
    if (value === undefined)
      return fatal(`${this.where}bad numerical configuration: ${this.namePrefix}${setting} = ${text}`);
    if (value < least)
      fatal(`${this.where}invalid ${this.namePrefix}${setting} parameter value ${value} < ${least}`);
    if (value > most)
      fatal(`${this.where}invalid ${this.namePrefix}${setting} parameter value ${value} > ${most}`);
    return value;
  }

  boolean(setting: string, fallback: boolean): boolean {
    const text = this.find(setting);
    if (text === undefined) return fallback;
    if (equalFold(text, "yes")) return true;
    if (equalFold(text, "no")) return false;
    return fatal(`${this.where}bad boolean configuration: ${this.namePrefix}${setting} = ${text}`);
  }
}
