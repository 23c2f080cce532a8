// Python, built and run for real: pip, Poetry and uv, and a member of a uv workspace.
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestHost } from "../../src/builders/testing/host.ts";
import { answers, built, ecosystemHost, locked, userWith, type Files } from "./project.ts";

const server = (imports: string, answer: string): string => `import os
from http.server import BaseHTTPRequestHandler, HTTPServer
${imports}

class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((${answer}).encode())

HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Hello).serve_forever()
`;
const main = server("import six", '"hello " + six.__version__');
const pyproject = (more = ""): string =>
  `[project]\nname = "hello"\nversion = "1.0.0"\nrequires-python = ">=3.9"\ndependencies = ["six==1.17.0"]\n${more}`;
/** Poetry asks for packages in a way that mirrors of the package index often do not answer, so its dependency is a wheel that lies in the project. */
function poetry(): Files {
  return {
    "pyproject.toml":
      '[tool.poetry]\nname = "hello"\nversion = "1.0.0"\ndescription = ""\nauthors = []\npackage-mode = false\n\n[tool.poetry.dependencies]\npython = ">=3.9"\nword = { path = "wheels/word-1.0.0-py3-none-any.whl" }\n',
    "wheels/word-1.0.0-py3-none-any.whl": wheel("word", "text = 'word'\n"),
    "main.py": server("import word", '"hello " + word.text'),
  };
}

function wheel(name: string, code: string): Buffer {
  const script =
    "import base64, sys, zipfile, io, json\nfiles = json.loads(sys.argv[1])\nout = io.BytesIO()\nwith zipfile.ZipFile(out, 'w') as z:\n    for path, text in files.items(): z.writestr(path, text)\nprint(base64.b64encode(out.getvalue()).decode())";
  const info = `${name}-1.0.0.dist-info`;
  const files = {
    [`${name}.py`]: code,
    [`${info}/METADATA`]: `Metadata-Version: 2.1\nName: ${name}\nVersion: 1.0.0\n`,
    [`${info}/WHEEL`]: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    [`${info}/RECORD`]: `${name}.py,,\n${info}/METADATA,,\n${info}/WHEEL,,\n${info}/RECORD,,\n`,
  };
  return Buffer.from(execFileSync("python3", ["-c", script, JSON.stringify(files)], { encoding: "utf8" }), "base64");
}

const member = `[project]\nname = "api"\nversion = "1.0.0"\nrequires-python = ">=3.9"\ndependencies = ["word", "six==1.17.0"]\n\n[tool.uv.sources]\nword = { workspace = true }\n`;
const workspace: Files = {
  "pyproject.toml":
    '[project]\nname = "shop"\nversion = "1.0.0"\nrequires-python = ">=3.9"\ndependencies = []\n\n[tool.uv.workspace]\nmembers = ["apps/*", "libs/*"]\n',
  "libs/word/pyproject.toml":
    '[project]\nname = "word"\nversion = "1.0.0"\nrequires-python = ">=3.9"\n\n[build-system]\nrequires = ["setuptools>=61"]\nbuild-backend = "setuptools.build_meta"\n',
  "libs/word/src/word/__init__.py": 'text = "word"\n',
  "apps/api/pyproject.toml": member,
  "apps/api/main.py": server("import six\nimport word", 'word.text + " " + six.__version__'),
};

interface Case {
  readonly name: string;
  readonly tools: readonly (readonly [string, string])[];
  readonly files: () => Files | Promise<Files>;
  readonly root?: string;
  readonly body: string;
}
const cases: readonly Case[] = [
  {
    name: "pip and requirements.txt",
    tools: [["pip", "*"]],
    files: () => ({ "requirements.txt": "six==1.17.0\n", "main.py": main }),
    body: "hello 1.17.0",
  },
  {
    name: "pip and a list in pyproject.toml",
    tools: [["pip", "*"]],
    files: () => ({ "pyproject.toml": pyproject(), "main.py": main }),
    body: "hello 1.17.0",
  },
  {
    name: "Poetry and its lockfile",
    tools: [
      ["pip", "*"],
      ["poetry", "*"],
    ],
    files: () => locked(poetry(), "poetry.lock", "poetry", "*", ["lock", "--no-interaction"]),
    body: "hello word",
  },
  {
    name: "uv and its lockfile",
    tools: [["uv", "*"]],
    files: () => locked({ "pyproject.toml": pyproject(), "main.py": main }, "uv.lock", "uv", "*", ["lock"]),
    body: "hello 1.17.0",
  },
  {
    name: "a member of a uv workspace",
    tools: [["uv", "*"]],
    files: () => locked(workspace, "uv.lock", "uv", "*", ["lock"]),
    root: "apps/api",
    body: "word 1.17.0",
  },
];

for (const { name, tools, files, root, body } of cases) {
  const user = await userWith([["python", ">=3.9"], ...tools]);
  describe.skipIf(user === undefined)(name, () => {
    let host: TestHost;
    beforeAll(async () => {
      host = await ecosystemHost(user ?? "own");
    });
    afterAll(async () => {
      await host?.dispose();
    });

    it("puts the packages into the bundle, and the program finds them elsewhere", async () => {
      const made = await built(host, await files(), root === undefined ? {} : { root });
      expect(made.plan.warnings).toEqual([]);
      expect(await answers(host, made)).toEqual({ status: 200, body });
    }, 300_000);
  });
}
