// Lines that people wrote must keep their meaning as commands; where a shell stays, the program has to replace it.
import { execFileSync } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commandOf, fixedPort, inFolder, programOf, shellWord } from "./command.ts";

describe("commandOf", () => {
  const cases: readonly (readonly [string, ReturnType<typeof commandOf>])[] = [
    ["node server.js", { exec: ["node", "server.js"] }],
    ["  NODE_ENV=production  node server.js ", { exec: ["env", "NODE_ENV=production", "node", "server.js"] }],
    ["exec node server.js", { exec: ["node", "server.js"] }],
    ["gunicorn app:app --bind 0.0.0.0:$PORT", { shell: "exec gunicorn app:app --bind 0.0.0.0:$PORT" }],
    ["A=\"x y\" node -e 'f(1); g()'", { shell: "exec env A=\"x y\" node -e 'f(1); g()'" }],
    ["node migrate.js && node server.js", { shell: "node migrate.js && exec node server.js" }],
    ["node a.js 2>&1 > log", { shell: "exec node a.js 2>&1 > log" }],
    ["node a.js & node b.js", { shell: "node a.js & node b.js" }],
    ["node a.js; node b.js", { shell: "node a.js; node b.js" }],
    ["node a.js || true", { shell: "node a.js || true" }],
    ["cat x | node a.js", { shell: "cat x | node a.js" }],
    ['echo "$(date)"', { shell: 'echo "$(date)"' }],
    ["node a.js $(cat args)", { shell: "node a.js $(cat args)" }],
    ["cd app && node .", { shell: "cd app && exec node ." }],
    ["A=1", { shell: "A=1" }],
    ["node 'open", { shell: "node 'open" }],
    ["if true; then node x; fi", { shell: "if true; then node x; fi" }],
    ["while read x", { shell: "while read x" }],
    ["node a.js &&", { shell: "node a.js &&" }],
  ];
  it.each(cases)("%s", (line, command) => {
    expect(commandOf(line)).toEqual(command);
  });

  it("prints the same as the line itself would in a shell", () => {
    const word = fc.constantFrom(
      "printf '%s,'",
      "a",
      "'b c'",
      '"d $HOME"',
      "&&",
      "X=1",
      "exec",
      "env X=2",
      "true",
      "2>&1",
      "$HOME",
      "cd /",
      "printenv X",
    );
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(" ")),
        (line) => {
          const command = commandOf(line);
          const run = (args: readonly string[]): string => {
            const [program = "", ...rest] = args;
            try {
              return execFileSync(program, rest, {
                encoding: "utf8",
                stdio: ["ignore", "pipe", "ignore"],
                env: { PATH: process.env["PATH"] ?? "", HOME: "/h" },
              })
                .split("\n")
                .filter((text) => !/^(?:PWD|OLDPWD|_)=/.test(text))
                .sort()
                .join("\n"); // A shell adds its own variables.
            } catch {
              return "failed"; // Both ways have to fail for the same lines; the exit codes of a missing program differ.
            }
          };
          expect("exec" in command ? run(command.exec) : run(["sh", "-c", command.shell])).toBe(run(["sh", "-c", line]));
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);
});

describe("inFolder", () => {
  it("enters the folder, whatever its name, and keeps compound lines whole", () => {
    const base = mkdtempSync(join(tmpdir(), "berth-command-"));
    try {
      mkdirSync(join(base, "it's $HOME"));
      const sh = (line: string): string => execFileSync("sh", ["-c", line], { cwd: base, encoding: "utf8" });
      const inside = (command: Parameters<typeof inFolder>[1]): string => {
        const moved = inFolder("it's $HOME", command);
        return "shell" in moved ? sh(moved.shell) : "no shell";
      };
      expect(inside({ exec: ["pwd"] })).toBe(`${join(base, "it's $HOME")}\n`);
      expect(inside({ exec: ["printf", "%s", "a b"] })).toBe("a b");
      expect(inside({ shell: "false || pwd; echo end" })).toBe(`${join(base, "it's $HOME")}\nend\n`);
    } finally {
      rmSync(base, { recursive: true });
    }
    expect(inFolder(".", { exec: ["x"] })).toEqual({ exec: ["x"] });
  });
});

describe("reading commands", () => {
  it("finds the program behind exec, env and bundle", () => {
    expect(
      ["exec bundle exec rails s", "env A=1 ./bin/gunicorn x", "cd a && FOO=1 node ."].map((line) => programOf(commandOf(line))),
    ).toEqual(["rails", "gunicorn", "node"]);
  });
  it("finds a port that is fixed, but not $PORT", () => {
    expect(
      ["next start -p 3000", "gunicorn a:b --bind 0.0.0.0:8000", "serve -l $PORT", "x --port=${PORT:-3000}", "head -c 10"].map((line) =>
        fixedPort(commandOf(line)),
      ),
    ).toEqual(["3000", "8000", undefined, undefined, undefined]);
  });
  it("quotes words for the shell", () => {
    fc.assert(
      fc.property(
        fc.string().filter((word) => !word.includes("\0")),
        (word) => {
          expect(execFileSync("sh", ["-c", `printf %s ${shellWord(word)}`], { encoding: "utf8" })).toBe(word);
        },
      ),
      { numRuns: 30 },
    );
  }, 60_000);
});
