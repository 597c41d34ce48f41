/** `mongodb:/path/file.cf` (mongodb_table(5)). */
import type { Document, MongoClient } from "mongodb";
import { splitList } from "../../config/lists.ts";
import { warning } from "../../log/log.ts";
import { decodeUtf8, encodeUtf8 } from "../../sys/bytes.ts";
import { TableSettings } from "../cf.ts";
import { QueryGuard } from "../query_guard.ts";
import { addressesOf } from "../servers/endpoint.ts";
import { POOL_LIMIT } from "../servers/pool.ts";
import { pemFile } from "../servers/tls_files.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type Table,
  TableFlag,
  TableOpenError,
  type TableOwner,
} from "../table.ts";
import { joinResults, Template } from "../template.ts";

type Bson = typeof import("mongodb").BSON;

interface MongodbParts {
  readonly client: MongoClient;
  readonly bson: Bson;
  readonly guard: QueryGuard;
  readonly database: string;
  readonly collection: string;
  readonly filter: Template;
  readonly projection: Document;
  readonly result: Template;
  readonly expansionLimit: number;
}

const problem = (failure: unknown): string =>
  encodeUtf8(failure instanceof Error ? failure.message : String(failure));

/** Text from the key between the quotation marks of a JSON string. */
const quoteJson = (text: string): string => encodeUtf8(JSON.stringify(decodeUtf8(text) ?? "").slice(1, -1));

/** BSON's number of the type of a value that is no result. */
function bsonType(value: unknown): number {
  if (typeof value === "number") return 1;
  if (typeof value === "boolean") return 8;
  if (value instanceof Date) return 9;
  if (value === null) return 10;
  const name = typeof value === "object" && "_bsontype" in value ? value._bsontype : undefined;
  return (
    new Map([
      ["ObjectId", 7],
      ["Binary", 5],
      ["Double", 1],
      ["Decimal128", 19],
      ["BSONRegExp", 11],
      ["Timestamp", 17],
    ]).get(String(name)) ?? 3
  );
}

class MongodbTable implements Table {
  readonly fixed = true;
  constructor(
    readonly name: string,
    public flags: number,
    readonly owner: TableOwner,
    private readonly parts: MongodbParts,
  ) {}

  async lookup(name: string): Promise<LookupResult> {
    const { guard, filter, result, expansionLimit } = this.parts;
    const guarded = await guard.check(name, this.flags);
    if (guarded.kind === "error") return guarded;
    if (guarded.kind === "skip") return ABSENT;
    const { key } = guarded;
    const text = filter.expand(key, key, quoteJson);
    if (text === undefined) return ABSENT;
    let query: Document;
    try {
      query = this.parts.bson.EJSON.parse(decodeUtf8(text) ?? text, { relaxed: false });
    } catch (failure) {
      warning(`${this.name}: failed to create a query from '${text}': ${problem(failure)}`);
      return RETRY;
    }
    const values = await this.values(query);
    if (values === undefined) return RETRY;
    const joined = joinResults(this.name, result, key, values, expansionLimit);
    if (joined.kind === "limit") {
      warning(`${this.name}: expansion limit exceeded for key: '${key}'`);
      return RETRY;
    }
    return joined.value === undefined ? ABSENT : found(joined.value);
  }

  /** The values of all documents; undefined when they cannot be had, which was logged. */
  private async values(query: Document): Promise<string[] | undefined> {
    const { client, database, collection, projection, expansionLimit } = this.parts;
    const values: string[] = [];
    try {
      const cursor = client
        .db(database)
        .collection(collection)
        .find(query, { projection, promoteValues: false, raw: false, enableUtf8Validation: true });
      try {
        for await (const document of cursor) {
          for (const [field, value] of Object.entries(document)) this.collect(field, value, values);
          // more would only be counted
          if (expansionLimit > 0 && values.length > expansionLimit) break;
        }
      } finally {
        await cursor.close();
      }
      return values;
    } catch (failure) {
      if (failure instanceof this.parts.bson.BSONError && /UTF-8/i.test(failure.message))
        warning(`${this.name}: invalid UTF-8 in lookup result: ${problem(failure)}`);
      else warning(`${this.name}: query failed: ${problem(failure)}`);
      return undefined;
    }
  }

  private collect(field: string, value: unknown, values: string[]): void {
    const { Int32, Long } = this.parts.bson;
    if (typeof value === "string") values.push(encodeUtf8(value));
    else if (value instanceof Int32 || value instanceof Long) values.push(value.toString());
    else if (Array.isArray(value)) for (const element of value) this.collect(field, element, values);
    else
      warning(
        `${this.name}: failed to retrieve value of '${encodeUtf8(field)}', Unknown result type ${bsonType(value)}.`,
      );
  }
  changed(): boolean {
    return false;
  }
  close(): void {
    this.parts.guard.close();
    // nothing waits for the server's part of the farewell
    this.parts.client.close().catch(() => undefined);
  }
}

export const openMongodb: OpenType = async (name, options) => {
  const settings = TableSettings.open(name);
  const tableName = `mongodb:${name}`;
  const uri = settings.text("uri", "", 1);
  const database = settings.text("dbname", "", 1);
  const collection = settings.text("collection", "", 1);
  const filter = Template.parse(settings.title, settings.text("query_filter", "", 1), "query");
  const result = Template.parse(settings.title, settings.text("result_format", "%s", 1), "result");
  const expansionLimit = settings.number("expansion_limit", 10, 0, 100);
  const projectionText = settings.text("projection", "");
  const attributes = settings.text("result_attribute", "");
  if ((projectionText === "") === (attributes === ""))
    throw new TableOpenError(`${tableName}: specify exactly one of 'projection' or 'result_attribute'`);
  const { BSON } = await import("mongodb");
  const projection =
    attributes === ""
      ? parseProjection(BSON, tableName, projectionText)
      : Object.fromEntries([...splitList(attributes).map((field) => [field, 1]), ["_id", 0]]);
  const guard = await QueryGuard.open(tableName, settings, result);
  const client = await newClient(tableName, uri);
  const parts = {
    client,
    bson: BSON,
    guard,
    database,
    collection,
    filter,
    projection,
    result,
    expansionLimit,
  };
  return new MongodbTable(tableName, options.flags | TableFlag.fixed, settings.owner, parts);
};

function parseProjection(bson: Bson, table: string, text: string): Document {
  try {
    return bson.EJSON.parse(decodeUtf8(text) ?? text);
  } catch (failure) {
    throw new TableOpenError(`${table}: failed to create a projection from '${text}': ${problem(failure)}`);
  }
}

/** The client connects at the first lookup. Its certificates are read here: a jail does not have them. */
async function newClient(table: string, uri: string): Promise<MongoClient> {
  const { MongoClient } = await import("mongodb");
  const files = new Map<string, string>();
  const stripped = uri.replace(
    /([?&])(tlsCAFile|tlsCertificateKeyFile)=([^&]*)/g,
    (_, mark: string, option: string, path: string) => {
      files.set(option, decodeURIComponent(path));
      return mark;
    },
  );
  const ca = pemFile(files.get("tlsCAFile"));
  const own = pemFile(files.get("tlsCertificateKeyFile"));
  try {
    return new MongoClient(decodeUtf8(stripped) ?? stripped, {
      appName: "postfix",
      maxPoolSize: POOL_LIMIT,
      ...(ca === undefined ? {} : { ca }),
      ...(own === undefined ? {} : { cert: own, key: own }),
      lookup: (hostname, _, callback) => {
        void addressesOf(hostname).then((result) => {
          if ("problem" in result) callback(new Error(`host ${hostname}: ${result.problem}`), "", 4);
          else {
            const address = result.addresses[0] ?? "";
            callback(null, address, address.includes(":") ? 6 : 4);
          }
        });
      },
    });
  } catch (failure) {
    throw new TableOpenError(`${table}: failed to parse URI '${uri}': ${problem(failure)}`);
  }
}
