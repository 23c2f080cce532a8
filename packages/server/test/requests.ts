// Makes requests for a route from its own schemas, and spoils them: what the tests of hostile input send. Random by an argument only.
import { namePattern, uuidPattern } from "@berth/contract/names.ts";
import type { Route } from "@berth/contract/route.ts";
import fc from "fast-check";

interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly patternProperties?: Readonly<Record<string, Schema>>;
}

export interface Made {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** Requests that the route's schemas allow; `known` gives path parameters that exist. */
export function requestsOf(route: Route, known: Readonly<Record<string, string>>): fc.Arbitrary<Made> {
  const text = (schema: Schema | undefined): fc.Arbitrary<Record<string, string>> =>
    schema === undefined
      ? fc.constant({})
      : fromSchema(schema).map((made) => Object.fromEntries(Object.entries(made as object).map(([key, value]) => [key, String(value)])));
  return fc.record({
    params: text(route.params as Schema | undefined).map((made) => ({
      ...made,
      ...Object.fromEntries(Object.entries(known).filter(([key]) => key in made)),
    })),
    query: text(route.query as Schema | undefined),
    body: route.body === undefined ? fc.constant(undefined) : fromSchema(route.body as Schema),
  });
}

/** Values that a schema of the contract allows. */
export function fromSchema(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(fromSchema));
  if (schema.allOf !== undefined)
    return fc.tuple(...schema.allOf.map(fromSchema)).map((parts) => Object.assign({}, ...parts) as Record<string, unknown>);
  switch (schema.type) {
    case "string":
      return texts(schema);
    case "integer":
      return fc.integer({ min: schema.minimum ?? -1000, max: Math.min(schema.maximum ?? 1000, 2 ** 31 - 1) });
    case "number":
      return fc.integer({ min: Math.ceil(schema.minimum ?? 0), max: Math.floor(schema.maximum ?? 1000) });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array":
      return fc.array(fromSchema(schema.items ?? {}), { minLength: schema.minItems ?? 0, maxLength: Math.max(3, schema.minItems ?? 0) });
    case "object":
      return objects(schema);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function texts({ pattern, format, minLength = 0, maxLength = 30 }: Schema): fc.Arbitrary<string> {
  if (pattern === namePattern) return fc.stringMatching(/^[a-z][a-z0-9]{0,12}(-[a-z0-9]{1,10})?$/);
  if (pattern === uuidPattern) return fc.uuid();
  if (format === "date-time") return fc.date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true }).map((at) => at.toISOString());
  if (pattern !== undefined && !/\(\?[!<=]/.test(pattern)) return fc.stringMatching(new RegExp(pattern));
  return fc.string({ minLength, maxLength: Math.max(minLength, Math.min(maxLength, 30)) });
}

function objects({ properties = {}, required = [], patternProperties = {} }: Schema): fc.Arbitrary<unknown> {
  const fields = fc.record(Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, fromSchema(value)])), {
    requiredKeys: [...required],
  });
  const [first] = Object.entries(patternProperties);
  if (first === undefined) return fields;
  const [keys, values] = first;
  const key = keys === "^.*$" || keys === "" ? fc.string({ maxLength: 12 }) : texts({ pattern: keys });
  return fc
    .tuple(fields, fc.dictionary(key, fromSchema(values), { maxKeys: 3 }))
    .map(([some, more]) => ({ ...some, ...more }) as Record<string, unknown>);
}

/** JSON text that no schema of the contract was written for, to be put in the place of some value. */
export const strangeValues: readonly string[] = [
  "null",
  "true",
  "-1",
  "0",
  "2147483648",
  "9007199254740993",
  "1e400",
  "-1e400",
  "1.5",
  '""',
  '"\\u0000"',
  '"a\\u0000b"',
  '"\\ud800"',
  '"\\udc00x"',
  '"../../../../etc/passwd"',
  '"-x"',
  '"--upload-pack=id"',
  '"\\r\\nset-cookie: a=b"',
  '"%00"',
  '"\';select pg_sleep(1)--"',
  '"${jndi:x}"',
  '"\u202e\ufeff"',
  JSON.stringify("é".repeat(4000)),
  JSON.stringify("x".repeat(70_000)),
  "[]",
  "{}",
  "[null]",
  `${"[".repeat(2000)}${"]".repeat(2000)}`,
  `${'{"a":'.repeat(2000)}1${"}".repeat(2000)}`,
  '{"__proto__":{"polluted":true}}',
  '{"__proto__":"x","constructor":"y","toString":"z","hasOwnProperty":"w"}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"length":-1}',
  '{"then":1}',
  '{"":""}',
];

/** The value's JSON with one part of it, chosen by `at`, replaced by `by`; or with another key beside it. */
export function spoil(value: unknown, at: number, by: string, how: "replace" | "remove" | "add" | "twice"): string {
  const places: (readonly (string | number)[])[] = [];
  const walk = (part: unknown, path: readonly (string | number)[]): void => {
    places.push(path);
    if (part !== null && typeof part === "object")
      for (const [key, inner] of Object.entries(part)) walk(inner, [...path, Array.isArray(part) ? Number(key) : key]);
  };
  walk(value, []);
  const chosen = places[at % places.length] ?? [];
  const write = (part: unknown, path: readonly (string | number)[]): string => {
    const here = path.length === chosen.length && path.every((step, index) => step === chosen[index]);
    if (here && how === "replace") return by;
    if (part === null || typeof part !== "object") return JSON.stringify(part) ?? "null";
    const written = Object.entries(part).flatMap(([key, inner]) => {
      const step = Array.isArray(part) ? Number(key) : key;
      const gone = how === "remove" && path.length + 1 === chosen.length && [...path, step].every((one, index) => one === chosen[index]);
      if (gone) return [];
      const text = write(inner, [...path, step]);
      if (Array.isArray(part)) return [text];
      const pair = `${JSON.stringify(key)}:${text}`;
      return here && how === "twice" ? [pair, `${JSON.stringify(key)}:${by}`] : [pair];
    });
    if (Array.isArray(part)) return `[${written.join()}]`;
    if (here && how === "add") written.push(`"__proto__":${by}`, `"constructor":${by}`);
    return `{${written.join()}}`;
  };
  return write(value, []);
}
