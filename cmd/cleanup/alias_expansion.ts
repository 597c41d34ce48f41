/** Virtual alias expansion of one recipient (virtual(5), ADDRESS_REWRITING_README). */
import { type AddressMapping, type MappingRules, mapAddress } from "../../lib/address/mapping.ts";
import type { Soon } from "../../lib/sys/when.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import type { Message } from "./message.ts";
import type { CleanupSettings } from "./settings.ts";

const TITLE = "virtual_alias_maps";

export class AliasExpansion {
  readonly #found: string[];
  /** Folded addresses that are among their own results: they are not expanded again. */
  readonly #final = new Set<string>();
  /** The address that is being expanded, and how many expansions led to it from one that was found. */
  #index = 0;
  #depth = 0;
  #failed = false;

  constructor(
    private readonly settings: CleanupSettings,
    private readonly rules: MappingRules,
    private readonly message: Message,
    private readonly address: string,
  ) {
    this.#found = [address];
  }

  /** The results: the address itself when it has no alias, or when something is wrong. At once where no table has to be waited for. */
  run(): Soon<ReadonlyArray<string>> {
    const { settings } = this;
    const propagate = settings.propagate.has("virtual");
    while (!this.#failed && this.#index < this.#found.length) {
      const current = this.#found[this.#index] ?? "";
      const key = this.#fold(current);
      if (this.#final.has(key)) {
        this.#next();
        continue;
      }
      if (this.#depth >= settings.virtualRecursionLimit) {
        this.#refuse("DEFER", `unreasonable ${TITLE} map nesting for ${this.address}`);
        break;
      }
      const mapping = mapAddress(settings.tables.virtualAlias, TITLE, current, propagate, this.rules);
      if (mapping instanceof Promise)
        return mapping.then((settled) => {
          this.#take(settled, key);
          return this.run();
        });
      this.#take(mapping, key);
    }
    return this.#failed ? [this.address] : this.#found;
  }

  #take(mapping: AddressMapping, key: string): undefined {
    const { settings } = this;
    if (mapping.kind === "absent") return this.#next();
    if (mapping.kind === "error")
      return this.#refuse("WRITE", `${TITLE} map lookup problem for ${this.address}`);
    let position = 0;
    for (const result of mapping.addresses) {
      if (result.length > settings.virtualAddressLengthLimit)
        return this.#refuse("DEFER", `unreasonable ${TITLE} result ${result.slice(0, 300)}...`);
      if (position++ === 0) this.#found[this.#index] = result;
      else this.#found.push(result);
      if (this.#fold(result) === key) this.#final.add(key);
    }
    this.#depth++;
  }

  /** Goes on with the next address that was found. */
  #next(): undefined {
    this.#index++;
    this.#depth = 0;
    if (this.#index < this.#found.length && this.#found.length > this.settings.virtualExpansionLimit)
      this.#refuse("DEFER", `unreasonable ${TITLE} map expansion size for ${this.address}`);
  }

  #refuse(status: "DEFER" | "WRITE", text: string): undefined {
    this.message.warn(`${text} -- message not accepted, try again later`);
    this.message.fail(status, "4.6.0 Alias expansion error");
    this.#failed = true;
  }

  #fold(text: string): string {
    return foldCase(text, this.settings.smtputf8);
  }
}
