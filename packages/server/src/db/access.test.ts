// Who may do what: roles by scope, cut down by tokens; tokens that are stored hashed, expire, are revoked, and are used once.
import { everyPermission, isPermission } from "@berth/contract/permissions.ts";
import { describe, expect, it } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { createAccess, type Principal } from "./permissions.ts";
import { createLoginToken, createToken, createTokenCheck, redeemLoginToken, revokeToken, verifyToken } from "./tokens.ts";
import { transaction } from "./transaction.ts";

const database = useTestDatabase();
const db = () => database().db;
const user = async (name: string) => (await db().insertInto("users").values({ name }).returning("id").executeTakeFirstOrThrow()).id;
const bind = (userId: string, role: string, scope: { team?: string; stack?: string } = {}) =>
  db()
    .insertInto("role_bindings")
    .values({ user_id: userId, role, team_id: scope.team ?? null, stack_id: scope.stack ?? null })
    .execute();
const as = (id: string, scopes: string[] = ["*"]): Principal => ({ kind: "user", id, scopes });
const team = async (name: string) => (await db().insertInto("teams").values({ name }).returning("id").executeTakeFirstOrThrow()).id;
const stackId = "11111111-1111-4111-8111-111111111111";

describe("access", () => {
  it("knows every permission that a built-in role names", async () => {
    const roles = await db().selectFrom("roles").selectAll().execute();
    expect(roles.map((role) => role.name).sort()).toEqual(["administrator", "approver", "developer", "operator", "viewer"]);
    for (const role of roles)
      for (const permission of role.permissions)
        expect(permission === everyPermission || isPermission(permission), `${role.name}: ${permission}`).toBe(true);
  });

  it("gives the first administrator everything, and nobody else anything", async () => {
    const access = createAccess(db());
    const admin = (await db().selectFrom("users").select("id").where("name", "=", "admin").executeTakeFirstOrThrow()).id;
    expect(await access.may(as(admin), "installation.manage")).toBe(true);
    expect(await access.teamsWith(as(admin), "stacks.read")).toBe("all");
    expect(await access.teamsOf(as(admin))).toMatchObject([{ name: "default", roles: ["administrator"] }]);
    const nobody = await user("nobody");
    expect(await access.may(as(nobody), "stacks.read")).toBe(false);
    expect(await access.may(as("22222222-2222-4222-8222-222222222222"), "stacks.read")).toBe(false);
    expect(await access.teamsWith(as(nobody), "stacks.read")).toEqual([]);
    expect(await access.stacksWith(as(admin), "stacks.read")).toBe("all");
    expect(await access.stacksWith(as(nobody), "stacks.read")).toEqual({ teams: [], stacks: [] });
  });

  it("counts a role only in its team or stack", async () => {
    const access = createAccess(db());
    const [mine, theirs, dev] = [await team("mine"), await team("theirs"), await user("dev")];
    await bind(dev, "developer", { team: mine });
    await bind(dev, "viewer", { stack: stackId });
    expect(await access.may(as(dev), "releases.deploy", { team: mine })).toBe(true);
    expect(await access.may(as(dev), "releases.deploy", { team: theirs })).toBe(false);
    expect(await access.may(as(dev), "stacks.read", { team: theirs, stack: stackId })).toBe(true);
    expect(await access.may(as(dev), "releases.deploy", { team: theirs, stack: stackId })).toBe(false);
    expect(await access.may(as(dev), "releases.deploy")).toBe(false);
    expect(await access.teamsWith(as(dev), "releases.deploy")).toEqual([mine]);
    expect(await access.stacksWith(as(dev), "stacks.read")).toEqual({ teams: [mine], stacks: [stackId] });
    expect(await access.stacksWith(as(dev), "releases.deploy")).toEqual({ teams: [mine], stacks: [] });
    expect((await access.findTeam("mine"))?.id).toBe(mine);
  });

  it("is cut down to what the token carries, and never beyond what its user may", async () => {
    const access = createAccess(db());
    const [everybody, dev, admin] = [await team("everybody"), await user("dev2"), await user("admin2")];
    await bind(dev, "viewer", { team: everybody });
    await bind(admin, "administrator");
    expect([...(await access.permissions(as(dev, ["stacks.read", "secrets.read"]), { team: everybody }))]).toEqual(["stacks.read"]);
    expect([...(await access.permissions(as(admin, ["stacks.read"]), { team: everybody }))]).toEqual(["stacks.read"]);
    expect(await access.may(as(admin, ["stacks.read"]), "installation.manage")).toBe(false);
    expect(await access.teamsWith(as(admin, ["stacks.read"]), "stacks.write")).toEqual([]);
    expect(await access.may(as(admin, []), "stacks.read")).toBe(false);
  });

  it("forgets roles after a moment, and a disabled user's at the same time", async () => {
    let now = 0;
    const access = createAccess(db(), { cacheMs: 1_000, clock: () => now });
    const leaving = await user("leaving");
    await bind(leaving, "operator");
    expect(await access.may(as(leaving), "runtime.operate")).toBe(true);
    await db().updateTable("users").set({ disabled_at: new Date() }).where("id", "=", leaving).execute();
    expect(await access.may(as(leaving), "runtime.operate")).toBe(true);
    now = 1_001;
    expect(await access.may(as(leaving), "runtime.operate")).toBe(false);
  });
});

describe("tokens", () => {
  const now = new Date("2030-01-01T00:00:00Z");
  const make = (userId: string, more: { scopes?: string[]; expiresAt?: Date } = {}) =>
    transaction(db(), (trx) => createToken(trx, { userId, name: "laptop", ...more }));

  it("lead back to their user, and are not to be found in the database", async () => {
    const id = await user("t1");
    const made = await make(id, { scopes: ["stacks.read"] });
    expect(made.text).toMatch(/^berth_[a-z0-9]{10}_[A-Za-z0-9_-]{43}$/);
    expect(await verifyToken(db(), made.text, now)).toMatchObject({
      userName: "t1",
      name: "laptop",
      principal: { kind: "token", id, tokenId: made.id, scopes: ["stacks.read"] },
    });
    const dump = JSON.stringify(await db().selectFrom("api_tokens").selectAll().execute(), (_, value: unknown) =>
      Buffer.isBuffer(value) ? value.toString("latin1") : value,
    );
    expect(dump).not.toContain(made.text.split("_").at(-1));
    expect(
      (await db().selectFrom("api_tokens").select("last_used_at").where("id", "=", made.id).executeTakeFirstOrThrow()).last_used_at,
    ).toEqual(now);
  });

  it("are refused when wrong, expired, revoked, or their user is disabled", async () => {
    const id = await user("t2");
    const made = await make(id, { expiresAt: new Date(now.getTime() + 1) });
    const code = (text: string, at = now) =>
      verifyToken(db(), text, at).then(
        () => "in",
        (error: { code: string }) => error.code,
      );
    expect(await code(made.text)).toBe("in");
    expect(await code(`${made.text.slice(0, -1)}${made.text.endsWith("A") ? "B" : "A"}`.slice(0, made.text.length))).toBe(
      "unauthenticated",
    );
    for (const text of ["", "berth_", "nonsense", `berth_aaaaaaaaaa_${"a".repeat(43)}`, "x".repeat(10_000)])
      expect(await code(text)).toBe("unauthenticated");
    expect(await code(made.text, new Date(now.getTime() + 1))).toBe("token_expired");
    expect(await revokeToken(db(), { id: made.id, userId: await user("somebody else") })).toBe(false);
    expect(await revokeToken(db(), { id: made.id, userId: id })).toBe(true);
    expect(await revokeToken(db(), { id: made.id })).toBe(false);
    expect(await code(made.text)).toBe("token_revoked");
    const other = await make(id);
    await db().updateTable("users").set({ disabled_at: now }).where("id", "=", id).execute();
    expect(await code(other.text)).toBe("unauthenticated");
  });

  it("are remembered for a moment, but neither beyond their end nor after a revocation", async () => {
    let passed = 0;
    const check = createTokenCheck(db(), { cacheMs: 1_000, clock: () => passed });
    const id = await user("t4");
    const code = (text: string, at = now) =>
      check.verify(text, at).then(
        ({ userName }) => userName,
        (error: { code: string }) => error.code,
      );
    const short = await make(id, { expiresAt: new Date(now.getTime() + 1) });
    expect([await code(short.text), await code(short.text, new Date(now.getTime() + 1))]).toEqual(["t4", "token_expired"]);
    const made = await make(id);
    expect(await code(made.text)).toBe("t4");
    // Elsewhere: it takes as long as it is remembered.
    await revokeToken(db(), { id: made.id });
    expect(await code(made.text)).toBe("t4");
    passed = 1_001;
    expect(await code(made.text)).toBe("token_revoked");
    // Here: at once, also for what was being read meanwhile.
    const other = await make(id);
    const [before] = await Promise.all([code(other.text), revokeToken(db(), { id: other.id })]);
    expect(["t4", "token_revoked"]).toContain(before);
    check.forget();
    expect(await code(other.text)).toBe("token_revoked");
    expect(await code(`${made.text.slice(0, -2)}AA`)).toBe("unauthenticated");
  });

  it("of one use are traded once, in time, and a newer one replaces the older", async () => {
    const id = await user("t3");
    const expiresAt = new Date(now.getTime() + 1_000);
    const redeem = (text: string, at = now) =>
      transaction(db(), (trx) => redeemLoginToken(trx, text, { name: "first" }, at)).then(
        (made) => made.userName,
        (error: { code: string }) => error.code,
      );
    const first = await createLoginToken(db(), { userId: id, expiresAt });
    const second = await createLoginToken(db(), { userId: id, expiresAt });
    expect(await redeem(first)).toBe("login_token_invalid");
    expect(await redeem(second, expiresAt)).toBe("login_token_invalid");
    expect((await Promise.all([redeem(second), redeem(second), redeem(second)])).sort()).toEqual([
      "login_token_invalid",
      "login_token_invalid",
      "t3",
    ]);
    expect(await redeem("berth_login_nonsense")).toBe("login_token_invalid");
  });
});
