// "Every object says which verbs the caller may use now, with the reason when not": each object that routes act on has `allowed`, and what it says is what
// happens. A verb that is not open is refused, or changes nothing; one that is open is never refused for a permission or a state.
import { routes, type RouteName } from "@berth/contract/api.ts";
import { permissionsEn } from "@berth/contract/permissions.ts";
import { isSocket, reasonsEn, type Allowed, type Route, type Verb } from "@berth/contract/route.ts";
import type { TSchema } from "typebox";
import { describe, expect, test } from "vitest";
import { useHttp, type Ask } from "./http.ts";
import { useServices } from "./services.ts";
import { calls, sceneDeps, scenes, type Scene } from "./verb-scenes.ts";

const services = useServices(sceneDeps);
const http = useHttp(services);
const table = Object.entries<Route>(routes) as [RouteName, Route][];

/** Routes that are no verb of an object. */
const noVerbs: Readonly<Partial<Record<RouteName, string>>> = {
  login: "whoever calls it is not signed in yet",
  explainSource: "it only reads; the body is too much for a query",
  adopt: "each candidate says whether it is possible",
  importNamespace: "each item says whether it is possible",
  restoreVolume: "the volume need not be there yet, and its place has the last word",
  notifyRegistry: "registries call it, with a secret and no permission",
};
/** Objects that nothing acts on: facts, or what only later versions will change. */
const facts: Readonly<Record<string, string>> = {
  Installation: "says what answers here",
  Event: "what happened stays as it is",
  AuditEntry: "who did what stays as it is",
  LogLine: "a line of a log",
  BuildLogLine: "a line of a log",
  Cause: "part of what failed",
  ComponentSpec: "part of a component, a release and a plan",
  Deployment: "the answer to a deployment; its rollouts and builds have their own verbs",
  Manifests: "shows what releases are in their cluster",
  Drift: "shows what was changed of them there",
  PlanNeeds: "no plan yet",
  ImportItem: "says by itself whether it can be imported",
  Candidate: "says by itself whether it can be adopted",
  BuildPlan: "part of a build",
  StackVersion: "nothing acts on a version yet",
  KnownHost: "nothing removes one yet",
  User: "nothing changes users yet",
  Team: "nothing changes teams yet",
  Role: "nothing changes roles yet",
};

const verbsOf = new Map<string, Map<string, RouteName[]>>();
for (const [name, route] of table) {
  for (const verb of route.verbs ?? []) {
    const [object = "", action = ""] = verb.split(".");
    const actions = verbsOf.get(object) ?? new Map<string, RouteName[]>();
    verbsOf.set(object, actions.set(action, [...(actions.get(action) ?? []), name]));
  }
}

function schemasIn(schema: unknown, found = new Map<string, Record<string, unknown>>()): Map<string, Record<string, unknown>> {
  if (Array.isArray(schema)) for (const part of schema) schemasIn(part, found);
  else if (schema !== null && typeof schema === "object") {
    const { $id } = schema as { $id?: string };
    if ($id !== undefined) found.set($id, schema as Record<string, unknown>);
    for (const part of Object.values(schema)) schemasIn(part, found);
  }
  return found;
}
const objects = schemasIn(table.map(([, route]) => route.response));
const hasAllowed = (schema: Record<string, unknown> | undefined): boolean =>
  "allowed" in ((schema?.["properties"] as object | undefined) ?? {});

describe("the contract", () => {
  test("names what every route that changes something is a verb of", () => {
    for (const [name, route] of table) {
      const acts = route.method !== "GET" || isSocket(route);
      expect({ name, verbs: (route.verbs ?? []).length > 0 }).toEqual({ name, verbs: acts && noVerbs[name] === undefined });
    }
  });

  test("gives `allowed` to every object that has verbs, and to no other without a reason here", () => {
    expect(objects.size).toBeGreaterThan(20);
    for (const object of verbsOf.keys())
      expect({ object, known: objects.has(object), allowed: hasAllowed(objects.get(object)) }).toEqual({
        object,
        known: true,
        allowed: true,
      });
    for (const [object, schema] of objects)
      if (!verbsOf.has(object))
        expect({ object, allowed: hasAllowed(schema), reason: facts[object] !== undefined }).toEqual({
          object,
          allowed: false,
          reason: true,
        });
    for (const object of Object.keys(facts)) expect({ object, facts: !verbsOf.has(object) }).toEqual({ object, facts: true });
  });

  test("gives every item of a list a name, so that none escapes", () => {
    for (const [name, route] of table) {
      const items =
        route.list === undefined
          ? undefined
          : (route.response as unknown as { properties: { items: { items: TSchema & { $id?: string } } } }).properties.items.items.$id;
      if (route.list !== undefined) expect(items, name).toBeDefined();
    }
  });

  test("has a scene here for every object and a call for every verb", () => {
    expect([...verbsOf.keys()].filter((object) => scenes[object] === undefined)).toEqual([]);
    for (const [object, actions] of verbsOf)
      for (const [action, names] of actions)
        expect({ verb: `${object}.${action}`, called: Object.keys(calls[`${object}.${action}`] ?? {}).toSorted() }).toEqual({
          verb: `${object}.${action}`,
          called: names.toSorted(),
        });
  });
});

async function look(scene: Scene, token: string): Promise<{ allowed: Allowed; text: string } | undefined> {
  const answer = await http().ask({ ...scene.look, token });
  if (answer.status !== 200) return undefined;
  const object = scene.pick === undefined ? answer.json() : scene.pick(answer.json());
  if (object === undefined) return undefined;
  // A plan is made afresh by each look.
  return { allowed: object["allowed"] as Allowed, text: JSON.stringify({ ...object, id: "", expiresAt: "" }) };
}

async function act(scene: Scene, verb: Verb, name: RouteName, token: string): Promise<{ status: number; code: string }> {
  const route: Route = routes[name];
  const call = (await calls[verb]?.[name]?.(scene, services())) ?? {};
  const params: Record<string, string> = { ...scene.params, ...call.params };
  const path =
    route.path.replace(/:(\w+)/g, (_, part: string) => params[part] ?? `no-${part}`) + (call.query === undefined ? "" : `?${call.query}`);
  if (isSocket(route)) return { status: await http().upgrade({ path, token }), code: "" };
  const asked: Ask = {
    method: route.method,
    path,
    token,
    ...(call.raw === undefined ? { body: call.body } : { raw: call.raw, headers: { "content-type": "application/x-tar" } }),
  };
  const answer = await http().ask(asked);
  return { status: answer.status, code: answer.status >= 400 ? String(answer.json()["code"]) : "" };
}

const fits = (scene: Scene, names: readonly RouteName[]): readonly RouteName[] =>
  names.filter((name) => scene.only === undefined || scene.only.includes(name));

describe.each([...verbsOf.keys()].filter((object) => scenes[object] !== undefined))("%s", (object) => {
  const actions = verbsOf.get(object) ?? new Map<string, RouteName[]>();
  const states = Object.entries(scenes[object] ?? {});

  test.each(states)("when %s: says of every verb what comes of it", async (_state, make) => {
    const scene = await make(services());
    const before = await look(scene, await http().token("*"));
    expect(Object.keys(before?.allowed ?? {}).toSorted()).toEqual([...actions.keys()].toSorted());
    for (const [action, names] of actions) {
      for (const name of fits(scene, names)) {
        const verb: Verb = `${object}.${action}`;
        const fresh = await make(services());
        const token = await http().token("*");
        const first = await look(fresh, token);
        const said = first?.allowed[action];
        const done = await act(fresh, verb, name, token);
        if (said?.ok === true) {
          expect({ verb, name, ...done, refused: done.status >= 400 }, JSON.stringify(said)).toMatchObject({ verb, refused: false });
          continue;
        }
        expect(reasonsEn[said?.reason?.code ?? ""], `${verb}: ${JSON.stringify(said)}`).toBeDefined();
        if (done.status >= 500) throw new Error(`${verb} by ${name}: ${done.status} ${done.code}`);
        // Refused, or as if it had not been asked for.
        if (done.status < 400) expect({ verb, now: (await look(fresh, token))?.text }).toEqual({ verb, now: first?.text });
      }
    }
  });

  test("for tokens that carry less: what is said to be missing is missing, and what is open is open", async () => {
    const [, make] = states[0] ?? [];
    if (make === undefined) return;
    const shared = await make(services());
    let opened = 0;
    let closed = 0;
    for (const permission of Object.keys(permissionsEn)) {
      const scopes = [...new Set(["stacks.read", permission])];
      const token = await http().token(...scopes);
      const seen = await look(shared, token);
      // A plan cannot even be made without the permission to apply it.
      if (seen === undefined) continue;
      for (const [action, names] of actions) {
        const said = seen.allowed[action];
        for (const name of fits(shared, names)) {
          const verb: Verb = `${object}.${action}`;
          if (said?.ok === true) {
            const done = await act(await make(services()), verb, name, await http().token(...scopes));
            expect({ verb, name, permission, refused: done.status >= 400, ...done }).toMatchObject({ verb, refused: false });
            opened += 1;
          } else if (said?.reason?.code === "no_permission") {
            const done = await act(shared, verb, name, token);
            expect({ verb, name, permission, refused: done.status === 403 || done.status === 404, ...done }).toMatchObject({
              verb,
              refused: true,
            });
            closed += 1;
          }
        }
      }
    }
    // Nobody sees one of these who may not do all with it.
    const always =
      object === "Token" || object === "Certificate" || object === "Registry" || object === "Webhook" || object === "AutomaticCertificate";
    expect({ opened: opened > 0, closed: closed > 0 || always || object === "StackPlan" }).toEqual({ opened: true, closed: true });
  });
});
