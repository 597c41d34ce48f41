/** Settings and defaults as typed values, evaluated when they are first asked for. */
import { fatal, warning } from "../log/log.ts";
import {
  DERIVED_PARAMETERS,
  type DerivedSuffix,
  type DerivedValue,
  type ServiceSuffix,
  type TransportSuffix,
} from "./derived.ts";
import { type Expansion, expandMacros } from "./expand.ts";
import { domainOf, ownHostname } from "./hostname.ts";
import {
  defaultNetworks,
  InterfaceProblem,
  type OwnAddress,
  ownAddresses,
  type Protocols,
  parseProtocols,
  proxyAddresses,
} from "./interfaces.ts";
import { isParameterName, parameterRow } from "./parameter_rows.ts";
import type { ParameterName, ParameterValue } from "./parameters.ts";
import { readValue, type TypedValue, type ValueRules } from "./values.ts";

/** A value that the program cannot use: the text of the fatal line. */
export class ConfigurationError extends Error {}

export interface ConfigurationSource {
  /** The configuration directory, as given. */
  readonly directory: string;
  /** Settings: main.cf, overridden by `-o`. */
  readonly entries: ReadonlyMap<string, string>;
  readonly processName: string;
  readonly serviceName: string;
  /** Owner of main.cf. */
  readonly owner: number;
  /** Ends the program over a bad value; fatal() unless it is a test. */
  readonly die?: (text: string) => never;
}

export class Configuration {
  readonly directory: string;
  /** Owner of main.cf; old-style tables of a main.cf that root does not own are not trusted. */
  readonly owner: number;
  readonly #entries: Map<string, string>;
  readonly #values = new Map<string, TypedValue>();
  readonly #source: ConfigurationSource;
  readonly #die: (text: string) => never;
  /** Defaults that are computed; an empty one is being computed at this moment, and so is empty for a reference from within. */
  readonly #computed = new Map<string, string>();
  #protocols: Protocols | undefined;
  #ownAddresses: ReadonlyArray<OwnAddress> | undefined;
  #proxyAddresses: ReadonlyArray<OwnAddress> | undefined;

  constructor(source: ConfigurationSource) {
    this.#source = source;
    this.directory = source.directory;
    this.owner = source.owner;
    this.#die = source.die ?? ((text) => fatal(text));
    this.#entries = new Map(source.entries)
      .set("process_name", source.processName)
      .set("service_name", source.serviceName)
      .set("process_id", String(process.pid));
  }

  /** The same configuration with other settings for some names (postscreen's two values of `stress`). */
  with(changes: ReadonlyMap<string, string>): Configuration {
    return new Configuration({ ...this.#source, entries: new Map([...this.#entries, ...changes]) });
  }

  /** The typed value: text, number (times in seconds), boolean. A bad value ends the program. */
  get<N extends ParameterName>(name: N): ParameterValue<N> {
    const known = this.#values.get(name);
    // The row of the name says which type readValue() made.
    if (known !== undefined) return known as ParameterValue<N>;
    const value = this.#guard(() => this.#evaluate(name));
    this.#values.set(name, value);
    return value as ParameterValue<N>;
  }

  /** Evaluates parameters, so that a bad value is noticed at the start of the program. */
  select(names: Iterable<ParameterName>): void {
    for (const name of names) this.get(name);
  }

  /** Expands `$name` in a text. */
  expand(text: string): string {
    return this.#guard(() => this.#expand(text));
  }

  /** The expanded value of any name: a built-in one, or one that is set; undefined otherwise. */
  lookup(name: string): string | undefined {
    const raw = this.raw(name);
    return raw === undefined ? undefined : this.expand(raw);
  }

  /** The unexpanded value of any name: its setting, else its default. */
  raw(name: string): string | undefined {
    const set = this.#entries.get(name);
    if (set !== undefined) return set;
    return isParameterName(name) ? this.#guard(() => this.#defaultText(name)) : undefined;
  }

  /** Whether main.cf or an override sets the name. */
  isSet(name: string): boolean {
    return this.#source.entries.has(name);
  }

  /** The parameters of ours that are set, in the order of their settings. */
  settings(): ParameterName[] {
    return [...this.#source.entries.keys()].filter(isParameterName);
  }

  /** `smtp_destination_concurrency_limit` and the like: the setting for this transport, else the default of all. */
  transportParameter<S extends TransportSuffix>(transport: string, suffix: S): DerivedValue<S> {
    return this.#derived(transport, suffix);
  }

  /** `NAME_time_limit`, `NAME_client_limit`: the setting for this service, else the default of all. */
  serviceParameter<S extends ServiceSuffix>(service: string, suffix: S): DerivedValue<S> {
    return this.#derived(service, suffix);
  }

  /** The address families in use. */
  protocols(): Protocols {
    this.#protocols ??= this.#guard(() => parseProtocols(this.get("inet_protocols"), warning));
    return this.#protocols;
  }

  /** Our own addresses, by inet_interfaces. */
  ownAddresses(): ReadonlyArray<OwnAddress> {
    this.#ownAddresses ??= this.#guard(() => ownAddresses(this.get("inet_interfaces"), this.protocols()));
    return this.#ownAddresses;
  }

  /** Addresses at which a proxy or translator takes connections for us. */
  proxyAddresses(): ReadonlyArray<OwnAddress> {
    this.#proxyAddresses ??= this.#guard(() =>
      proxyAddresses(this.get("proxy_interfaces"), this.protocols()),
    );
    return this.#proxyAddresses;
  }

  /** Ends the program over its configuration. */
  refuse(text: string): never {
    return this.#die(text);
  }

  #guard<T>(evaluate: () => T): T {
    try {
      return evaluate();
    } catch (error) {
      if (error instanceof ConfigurationError || error instanceof InterfaceProblem)
        return this.#die(error.message);
      throw error;
    }
  }

  #evaluate(name: ParameterName): TypedValue {
    const [kind, , min, max, unit] = parameterRow(name);
    const raw = this.#entries.get(name) ?? this.#defaultText(name);
    return this.#typed(name, kind === "raw" ? raw : this.#expand(raw), { kind, min, max, unit });
  }

  #typed(name: string, text: string, rules: ValueRules): TypedValue {
    const result = readValue(name, text, rules);
    if (!result.ok) throw new ConfigurationError(result.problem);
    return result.value;
  }

  #derived<S extends DerivedSuffix>(prefix: string, suffix: S): DerivedValue<S> {
    const { kind, base, min, max } = DERIVED_PARAMETERS[suffix];
    const name = `${prefix}${suffix}`;
    const known = this.#values.get(name);
    if (known !== undefined) return known as DerivedValue<S>;
    const value = this.#guard(() => {
      const raw =
        this.#entries.get(name) ?? (isParameterName(name) ? this.#defaultText(name) : String(this.get(base)));
      return this.#typed(name, this.#expand(raw), { kind, min, max, unit: "s" });
    });
    this.#values.set(name, value);
    return value as DerivedValue<S>;
  }

  #defaultText(name: ParameterName): string {
    if (name !== "myhostname" && name !== "mydomain" && name !== "mynetworks") return parameterRow(name)[1];
    const known = this.#computed.get(name);
    if (known !== undefined) return known;
    this.#computed.set(name, "");
    const text = this.#compute(name);
    this.#computed.set(name, text);
    return text;
  }

  #compute(name: "myhostname" | "mydomain" | "mynetworks"): string {
    switch (name) {
      case "myhostname":
        return ownHostname(() => {
          const domain = this.#entries.get("mydomain");
          return domain === undefined ? undefined : this.#expand(domain);
        });
      case "mydomain":
        return domainOf(this.#expand(this.#entries.get("myhostname") ?? this.#defaultText("myhostname")));
      case "mynetworks":
        return defaultNetworks(this.lookup("mynetworks_style") ?? "", () => this.ownAddresses());
    }
  }

  #expand(text: string): string {
    if (!text.includes("$")) return text;
    const expansion: Expansion = expandMacros(text, {
      lookup: (name) =>
        this.#entries.get(name) ?? (isParameterName(name) ? this.#defaultText(name) : undefined),
      recursive: true,
    });
    if (expansion.ok) return expansion.value;
    for (const problem of expansion.problems) warning(problem);
    throw new ConfigurationError(expansion.fatal ?? "dictionary mail_dict: macro processing error");
  }
}
