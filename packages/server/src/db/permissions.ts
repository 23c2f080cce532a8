// May this principal do that here? Roles of the user at installation, team and stack scope, cut down to what the token carries.
// Must never answer yes because something is unknown.
import { sql, type RawBuilder } from "kysely";
import type { Db } from "./pool.ts";
import { createRecent } from "./recent.ts";

export interface Principal {
  readonly kind: "user" | "token";
  /** The user's id, whatever they came with. */
  readonly id: string;
  readonly tokenId?: string;
  /** Permissions that the token carries at most; `*` = all of its user's. */
  readonly scopes: readonly string[];
}

/** Ids. Nothing = the installation itself. */
export interface Scope {
  readonly team?: string;
  readonly stack?: string;
}

interface Binding {
  readonly role: string;
  readonly permissions: readonly string[];
  readonly teamId: string | null;
  readonly stackId: string | null;
}

export type Access = ReturnType<typeof createAccess>;

export interface AccessOptions {
  /** ms that a user's roles are remembered; a change takes so long to be felt in other processes. */
  readonly cacheMs?: number;
  readonly clock?: () => number;
}

/** Every stack, or those of some teams and some single ones, by id. */
export type StackScope = "all" | { readonly teams: readonly string[]; readonly stacks: readonly string[] };

/** For a query in which stacks are `s`. */
export function stackIsWithin(within: StackScope): RawBuilder<boolean> {
  if (within === "all") return sql`true`;
  return sql`(s.team_id = any(${within.teams}::uuid[]) or s.id = any(${within.stacks}::uuid[]))`;
}

export function createAccess(db: Db, options: AccessOptions = {}) {
  const recent = createRecent<Binding[]>(options.cacheMs ?? 2_000, options.clock ?? (() => performance.now()));

  const bindingsOf = (userId: string): Promise<Binding[]> => recent.get(userId, () => readBindings(userId));

  async function readBindings(userId: string): Promise<Binding[]> {
    return await db
      .selectFrom("role_bindings as b")
      .innerJoin("roles as r", "r.name", "b.role")
      .innerJoin("users as u", "u.id", "b.user_id")
      .where("b.user_id", "=", userId)
      .where("u.disabled_at", "is", null)
      .select(["b.role", "r.permissions", "b.team_id as teamId", "b.stack_id as stackId"])
      .execute();
  }

  /** What the principal may do in that scope; holds `*` when it is everything. */
  async function permissions(principal: Principal, scope: Scope = {}): Promise<ReadonlySet<string>> {
    const held = new Set(
      (await bindingsOf(principal.id)).filter((binding) => applies(binding, scope)).flatMap((binding) => binding.permissions),
    );
    return cutDown(held, principal.scopes);
  }

  async function may(principal: Principal, permission: string, scope: Scope = {}): Promise<boolean> {
    return includes(await permissions(principal, scope), permission);
  }

  /** The teams in all of whose stacks the principal has the permission. */
  async function teamsWith(principal: Principal, permission: string): Promise<readonly string[] | "all"> {
    const giving = await bindingsGiving(principal, permission);
    if (giving.some(isEverywhere)) return "all";
    return [...new Set(giving.flatMap((binding) => (binding.teamId === null ? [] : [binding.teamId])))];
  }

  async function bindingsGiving(principal: Principal, permission: string): Promise<Binding[]> {
    return (await bindingsOf(principal.id)).filter((binding) =>
      includes(cutDown(new Set(binding.permissions), principal.scopes), permission),
    );
  }

  /** All stacks in which the principal has the permission: for lists, which must not ask for each. */
  async function stacksWith(principal: Principal, permission: string): Promise<StackScope> {
    const giving = await bindingsGiving(principal, permission);
    if (giving.some(isEverywhere)) return "all";
    return {
      teams: [...new Set(giving.flatMap((binding) => (binding.teamId === null ? [] : [binding.teamId])))],
      stacks: [...new Set(giving.flatMap((binding) => (binding.stackId === null ? [] : [binding.stackId])))],
    };
  }

  /** The user's teams with their roles there; roles without a scope count everywhere. */
  async function teamsOf(principal: Principal): Promise<{ id: string; name: string; roles: string[] }[]> {
    const [bindings, teams] = await Promise.all([
      bindingsOf(principal.id),
      db
        .selectFrom("team_members as m")
        .innerJoin("teams as t", "t.id", "m.team_id")
        .where("m.user_id", "=", principal.id)
        .select(["t.id", "t.name"])
        .orderBy("t.name")
        .execute(),
    ]);
    return teams.map((team) => ({
      ...team,
      roles: [...new Set(bindings.filter((binding) => applies(binding, { team: team.id })).map((binding) => binding.role))],
    }));
  }

  /** A team by name. */
  async function findTeam(name: string, trx: Db = db): Promise<{ id: string; name: string } | undefined> {
    return await trx.selectFrom("teams").select(["id", "name"]).where("name", "=", name).executeTakeFirst();
  }

  /** Forgets what was remembered, after a change of roles in this process. */
  function forget(): void {
    recent.forget();
  }

  return { permissions, may, teamsWith, stacksWith, teamsOf, findTeam, forget };
}

const isEverywhere = (binding: Binding): boolean => binding.teamId === null && binding.stackId === null;

function applies(binding: Binding, scope: Scope): boolean {
  if (binding.teamId !== null) return binding.teamId === scope.team;
  if (binding.stackId !== null) return binding.stackId === scope.stack;
  return true;
}

function includes(held: ReadonlySet<string>, permission: string): boolean {
  return held.has("*") || held.has(permission);
}

function cutDown(held: ReadonlySet<string>, scopes: readonly string[]): Set<string> {
  if (scopes.includes("*")) return new Set(held);
  return new Set(scopes.filter((scope) => includes(held, scope)));
}
