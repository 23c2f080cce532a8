import { describe, expect, it } from "vitest";
import { UsageError } from "./failure.ts";
import { distance, nearest } from "./nearest.ts";
import { registry } from "./registry.ts";
import { resolve } from "./resolve.ts";
import { sayIn } from "./text/say.ts";

const say = sayIn("en");
const meant = (line: string): string => {
  const found = resolve(
    line.split(" ").filter((word) => word !== ""),
    registry,
    say,
  );
  return found.kind === "command"
    ? [...found.path, ...(found.args.length === 0 ? [] : ["|", ...found.args])].join(" ")
    : found.kind === "help"
      ? `help ${found.about.join(" ")}`.trim()
      : found.kind;
};
const answer = (line: string): string | undefined => {
  try {
    meant(line);
  } catch (error) {
    if (error instanceof UsageError) return error.next;
    throw error;
  }
  return undefined;
};

describe("what was typed", () => {
  it.each([
    ["stacks list", "stacks list"],
    ["up examples", "up | examples"],
    ["-s shop status --json", "status | -s shop --json"],
    ["--server=http://x stacks list", "stacks list | --server=http://x"],
    ["stacks", "stacks list"],
    ["config", "config show"],
    ["secrets --json", "secrets list | --json"],
    ["stacks -s x show", "stacks show | -s x"],
    ["events", "events"],
    ["events -f", "events | -f"],
    ["events list", "events list"],
    ["server start", "server | start"],
    ["server", "server"],
    ["", "help"],
    ["--help", "help"],
    ["help stacks list", "help stacks list"],
    ["help exit-codes", "help exit-codes"],
    ["stacks --help", "help stacks"],
    ["--version", "version"],
    ["exec -c web -- ls -la", "exec | -c web -- ls -la"],
  ])("`berth %s` is %s", (line, command) => {
    expect(meant(line)).toBe(command);
  });

  it.each([
    ["stack list", "stacks list"],
    ["secret set x", "secrets set | x"],
    ["component show web", "components show | web"],
    ["known-host list", "known-hosts list"],
    ["ps", "status"],
    ["apply -f compose.yaml", "up | -f compose.yaml"],
    ["pods", "instances list"],
    ["log web", "logs | web"],
    ["tail", "logs | -f"],
    ["config:set A=1", "config set | A=1"],
    ["releases:list", "releases list"],
    ["stacks ls", "stacks list"],
    ["components describe web", "components show | web"],
  ])("`berth %s`, a habit from elsewhere, is understood as %s, with a note", (line, command) => {
    expect(meant(line)).toBe(command);
    const found = resolve(line.split(" "), registry, say);
    expect(found.kind === "command" && found.note).toContain("understood as");
  });

  it.each([
    ["stcks list", "berth stacks"],
    ["depoly", "berth deploy"],
    ["stacks lsit", "berth stacks list"],
    ["rolback", "berth rollback"],
    ["get pods", "berth instances list"],
    ["list stacks", "berth stacks list"],
    ["delete stack shop", "berth stacks delete"],
    ["push", "berth deploy"],
    ["shell", "berth exec -- sh"],
    ["down", "berth stacks delete"],
    ["volumes rm x", "berth volumes delete"],
    ["secrets add x", "berth secrets set"],
    ["config rm A", "berth config unset"],
  ])("`berth %s` changes nothing, and hears of `%s`", (line, hint) => {
    expect(answer(line)).toContain(`\`${hint}\``);
  });

  it("that resembles nothing is sent to the list of commands", () => {
    expect(answer("xyzzyplugh")).toContain("berth help");
    expect(answer("stacks xyzzyplugh")).toContain("list, show");
  });
});

describe("likeness", () => {
  it("counts a swap of neighbours as one step, and finds nothing in short words that differ", () => {
    expect([distance("depoly", "deploy"), distance("", "abc"), distance("abc", "abc")]).toEqual([1, 3, 0]);
    expect([nearest("ls", ["up", "run"]), nearest("q", ["up"]), nearest("contr", ["controllers"])]).toEqual([
      undefined,
      undefined,
      "controllers",
    ]);
    expect(nearest("statu", ["status", "stop"])).toBe("status");
  });
});
