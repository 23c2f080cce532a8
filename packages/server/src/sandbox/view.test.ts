// What of a machine a program has to see: not only itself but all that it stands on, wherever that was installed.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { pathFolders, programFolders } from "./view.ts";

class Machine implements Disposable {
  readonly top = mkdtempSync(join(tmpdir(), "berth-view-"));
  [Symbol.dispose](): void {
    rmSync(this.top, { recursive: true, force: true });
  }
  at(path: string): string {
    const full = join(this.top, path);
    mkdirSync(dirname(full), { recursive: true });
    return full;
  }
  file(path: string, text = ""): string {
    writeFileSync(this.at(path), text);
    chmodSync(this.at(path), 0o755);
    return this.at(path);
  }
  link(path: string, to: string): string {
    symlinkSync(to, this.at(path));
    return this.at(path);
  }
}

it("shows the folders of a PATH, and those that they were installed with", () => {
  using machine = new Machine();
  const [tools, prefix] = [dirname(machine.file("tools/one")), dirname(machine.file("prefix/bin/two"))];
  expect(pathFolders([tools, prefix, join(machine.top, "missing"), "relative", "/usr/bin"]).sort()).toEqual([dirname(prefix), tools]);
});

describe("the folders that a program needs", () => {
  it("are none for one of the system", () => {
    expect(programFolders("/bin/sh")).toEqual([]);
  });

  it("are where it lies and where its links lead", () => {
    using machine = new Machine();
    const real = machine.file("versions/20/bin/tool");
    const path = machine.link("links/bin/tool", real);
    expect(programFolders(path).sort()).toEqual([join(machine.top, "links"), join(machine.top, "versions/20")]);
  });

  it("are those of the interpreter too, and of its link to another", () => {
    using machine = new Machine();
    machine.file("pythons/3.11/bin/python3.11");
    machine.link("venv/bin/python", machine.at("pythons/3.11/bin/python3.11"));
    const script = machine.file("apps/poetry/bin/poetry", `#!${machine.at("venv/bin/python")} -E\nimport sys\n`);
    expect(programFolders(machine.link("links/bin/poetry", script)).sort()).toEqual(
      ["apps/poetry", "links", "pythons/3.11", "venv"].map((path) => join(machine.top, path)),
    );
  });

  it.each(['\'\'\'exec\' "PATH" "$0" "$@"', "'''exec' PATH \"$0\" \"$@\""])(
    "are found where a shell's line names the interpreter: %s",
    (line) => {
      using machine = new Machine();
      const python = machine.file("pythons/bin/python");
      const script = machine.file("venv/bin/poetry", `#!/bin/sh\n${line.replace("PATH", python)}\n' '''\nimport sys\n`);
      expect(programFolders(script).sort()).toEqual([join(machine.top, "pythons"), join(machine.top, "venv")]);
    },
  );

  it("are those of a virtual environment's own Python when that was copied", () => {
    using machine = new Machine();
    machine.file("pythons/3.11/bin/python");
    machine.file("venv/pyvenv.cfg", `include-system-site-packages = false\nhome = ${machine.at("pythons/3.11/bin")}\nversion = 3.11.7\n`);
    expect(programFolders(machine.file("venv/bin/python")).sort()).toEqual([join(machine.top, "pythons/3.11"), join(machine.top, "venv")]);
  });

  it("end where scripts execute each other in a circle, or name what is not there", () => {
    using machine = new Machine();
    machine.file("a/bin/one", `#!${machine.at("b/bin/two")}\n`);
    machine.file("b/bin/two", `#!${machine.at("a/bin/one")}\n`);
    expect(programFolders(machine.at("a/bin/one")).sort()).toEqual([join(machine.top, "a"), join(machine.top, "b")]);
    expect(programFolders(machine.file("c/bin/three", "#!/nowhere/at/all/python\n"))).toEqual([join(machine.top, "c")]);
  });

  it("are all that a real virtual environment's program needs, as its own Python says", () => {
    using machine = new Machine();
    execFileSync("python3", ["-m", "venv", "--without-pip", machine.at("venv")]);
    const base = execFileSync(machine.at("venv/bin/python"), ["-c", "import sys; print(sys.base_prefix)"], { encoding: "utf8" }).trim();
    const script = machine.file("venv/bin/hello", `#!${machine.at("venv/bin/python")}\nprint('hello')\n`);
    const folders = programFolders(script);
    expect(folders).toContain(join(machine.top, "venv"));
    if (!base.startsWith("/usr")) expect(folders).toContain(base);
  });
});
