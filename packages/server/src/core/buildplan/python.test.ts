// Python plans: how dependencies reach the bundle, which server serves which application, versions.
import { describe, expect, it } from "vitest";
import { gist, planOf, type Files } from "./tree.fixture.ts";

const pip = "python3 -m pip install --no-input --disable-pip-version-check --target .berth/python";
const bind = "${HOST:-0.0.0.0}";
const flaskApp = "from flask import Flask\n\napp = Flask(__name__)\n";

describe("dependencies", () => {
  const cases: readonly { name: string; files: Files; steps: string[]; tools: string[]; warnings?: string[]; root?: string }[] = [
    { name: "only the standard library: nothing is installed", files: { "main.py": "" }, steps: [], tools: ["python"] },
    {
      name: "an empty requirements.txt: nothing is installed",
      files: { "requirements.txt": "# none yet\n\n", "main.py": "" },
      steps: [],
      tools: ["python"],
    },
    {
      name: "requirements.txt with its includes",
      files: {
        "requirements.txt": "-r requirements/base.txt\nflask==3.0 ; python_version > '3.8'\n",
        "requirements/base.txt": "-c ../constraints.txt\nredis\n",
        "constraints.txt": "redis==5\n",
      },
      steps: [`install: ${pip} -r requirements.txt [requirements.txt requirements/base.txt constraints.txt -> .berth/python]`],
      tools: ["python", "pip"],
    },
    {
      name: "a local path in requirements.txt always installs",
      files: { "requirements.txt": "./lib\nflask\n", "lib/setup.py": "" },
      steps: [`install: ${pip} -r requirements.txt`],
      tools: ["python", "pip"],
    },
    {
      name: "an include that is not there always installs",
      files: { "requirements.txt": "-r gone.txt\n" },
      steps: [`install: ${pip} -r requirements.txt`],
      tools: ["python", "pip"],
    },
    {
      name: "pyproject's list goes to pip as it is",
      files: { "pyproject.toml": "[project]\nname = 'x'\ndependencies = ['flask>=3', 'redis']\n" },
      steps: [`install: ${pip} 'flask>=3' redis [pyproject.toml -> .berth/python]`],
      tools: ["python", "pip"],
    },
    {
      name: "dynamic dependencies need the project's own packaging",
      files: { "pyproject.toml": "[project]\nname = 'x'\ndynamic = ['dependencies']\n" },
      steps: [`install: ${pip} .`],
      tools: ["python", "pip"],
    },
    {
      name: "pyproject without dependencies: nothing is installed",
      files: { "pyproject.toml": "[project]\nname = 'x'\ndependencies = []\n[tool.ruff]\n", "main.py": "" },
      steps: [],
      tools: ["python"],
    },
    {
      name: "uv",
      files: { "pyproject.toml": "[project]\nname = 'x'\ndependencies = ['flask']\n", "uv.lock": '[[package]]\nname = "flask"\n' },
      steps: [
        "install: mkdir -p .berth && uv export --frozen --no-dev --no-editable --no-emit-project --no-hashes --quiet --output-file .berth/requirements.txt && uv pip install --python python3 --target .berth/python -r .berth/requirements.txt [pyproject.toml uv.lock -> .berth/python]",
      ],
      tools: ["python", "uv"],
      warnings: [],
    },
    {
      name: "uv with an outdated lockfile and a local source",
      files: {
        "pyproject.toml": "[project]\nname = 'x'\ndependencies = ['flask', 'lib']\n[tool.uv.sources]\nlib = { path = 'lib' }\n",
        "uv.lock": '[[package]]\nname = "lib"\n',
      },
      steps: [
        "install: mkdir -p .berth && uv export --frozen --no-dev --no-editable --no-emit-project --no-hashes --quiet --output-file .berth/requirements.txt && uv pip install --python python3 --target .berth/python -r .berth/requirements.txt",
      ],
      tools: ["python", "uv"],
      warnings: ["lockfile_outdated"],
    },
    {
      name: "a member of a uv workspace is installed from the folder above",
      root: "services/api",
      files: {
        "pyproject.toml": "[tool.uv.workspace]\nmembers = ['services/*']\n",
        "uv.lock": 'name = "flask"',
        "services/api/pyproject.toml": "[project]\nname = 'api'\ndependencies = ['flask']\n",
        "services/api/main.py": "",
      },
      steps: [
        "install: mkdir -p .berth && uv export --frozen --no-dev --no-editable --no-emit-project --no-hashes --quiet --package api --output-file .berth/requirements.txt && uv pip install --python python3 --target .berth/python -r .berth/requirements.txt",
      ],
      tools: ["python", "uv"],
    },
    {
      name: "pipenv",
      files: { Pipfile: "[packages]\nflask = '*'\n[requires]\npython_version = '3.12'\n", "Pipfile.lock": { default: { flask: {} } } },
      steps: [
        `install: mkdir -p .berth && pipenv requirements > .berth/requirements.txt && ${pip} --no-deps -r .berth/requirements.txt [Pipfile Pipfile.lock -> .berth/python]`,
      ],
      tools: ["python", "pipenv", "pip"],
    },
  ];
  it.each(cases)("$name", ({ files, steps, tools, warnings, root }) => {
    const plan = planOf({ "main.py": "", ...files }, root === undefined ? {} : { root });
    const seen = gist(plan);
    expect(seen.steps).toEqual(steps);
    expect(plan.tools.map((tool) => tool.name)).toEqual(tools);
    if (warnings !== undefined) expect(seen.warnings).toEqual(warnings);
    expect(plan.env["PYTHONPATH"]).toContain("$ROOT/.berth/python");
    if (root !== undefined) expect([plan.root, seen.processes["web"]]).toEqual([".", "$ cd services/api && exec python3 main.py"]);
  });

  it("poetry: by its lockfile, into the bundle by pip", () => {
    const plan = planOf({
      "pyproject.toml": "[tool.poetry.dependencies]\npython = '^3.11'\nflask = '^3'\ngunicorn = '*'\n",
      "poetry.lock": "",
      "app.py": flaskApp,
    });
    const [install] = plan.steps;
    expect(install).toMatchObject({ name: "install", inputs: ["pyproject.toml", "poetry.lock"], outputs: [".berth/python"] });
    expect(gist(plan).steps[0]).toMatch(/poetry export --only main .*--target \.berth\/python --no-deps -r \.berth\/requirements\.txt/);
    expect(plan.tools.map((tool) => `${tool.name} ${tool.wanted}`)).toEqual(["python ^3.11", "poetry *", "pip *"]);
    expect(gist(plan).processes["web"]).toContain("python3 -m gunicorn");
  });
});

describe("servers", () => {
  const cases: readonly (readonly [string, string, Files, string | undefined, string[]])[] = [
    [
      "flask with gunicorn",
      "flask",
      { "requirements.txt": "flask\ngunicorn", "app.py": flaskApp },
      `$ exec python3 -m gunicorn --bind ${bind}:$PORT app:app`,
      [],
    ],
    [
      "flask with waitress and a factory",
      "flask",
      { "requirements.txt": "Flask\nwaitress", "shop/__init__.py": "def create_app():\n  pass\n" },
      `$ exec python3 -m waitress --listen=${bind}:$PORT --call shop:create_app`,
      [],
    ],
    [
      "flask with gunicorn and a factory",
      "flask",
      { "requirements.txt": "flask\ngunicorn", "shop/__init__.py": "def create_app(config=None):\n  pass\n" },
      `$ exec python3 -m gunicorn --bind ${bind}:$PORT 'shop:create_app()'`,
      [],
    ],
    [
      "flask alone",
      "flask",
      { "requirements.txt": "flask", "wsgi.py": "application = Flask(__name__)\n" },
      `$ exec env FLASK_APP=wsgi:application python3 -m flask run --host ${bind} --port $PORT`,
      ["development_server"],
    ],
    [
      "flask that reads PORT itself",
      "flask",
      { "requirements.txt": "flask", "app.py": `${flaskApp}if __name__ == "__main__":\n    app.run(port=int(os.environ["PORT"]))\n` },
      "python3 app.py",
      [],
    ],
    [
      "fastapi with uvicorn",
      "fastapi",
      { "requirements.txt": "fastapi\nuvicorn[standard]==0.30", "main.py": "api: FastAPI = fastapi.FastAPI(title='x')\n" },
      `$ exec python3 -m uvicorn --host ${bind} --port $PORT main:api`,
      [],
    ],
    [
      "fastapi[standard] below src",
      "fastapi",
      {
        "pyproject.toml": "[project]\ndependencies = ['fastapi[standard]']\n",
        "src/shop/__init__.py": "",
        "src/shop/main.py": "app = FastAPI()\n",
      },
      `$ exec python3 -m uvicorn --host ${bind} --port $PORT shop.main:app`,
      [],
    ],
    [
      "fastapi without a server",
      "fastapi",
      { "requirements.txt": "fastapi", "main.py": "app = FastAPI()\n" },
      undefined,
      ["server_missing"],
    ],
    [
      "starlette with hypercorn",
      "starlette",
      { "requirements.txt": "starlette\nhypercorn", "app.py": "app = Starlette(routes=[])\n" },
      `$ exec python3 -m hypercorn --bind ${bind}:$PORT app:app`,
      [],
    ],
    [
      "django with gunicorn",
      "django",
      { "requirements.txt": "Django\ngunicorn", "manage.py": "", "shop/wsgi.py": "", "shop/asgi.py": "" },
      `$ exec python3 -m gunicorn --bind ${bind}:$PORT shop.wsgi:application`,
      [],
    ],
    [
      "django with uvicorn",
      "django",
      { "requirements.txt": "django\nuvicorn", "manage.py": "", "shop/wsgi.py": "", "shop/asgi.py": "" },
      `$ exec python3 -m uvicorn --host ${bind} --port $PORT shop.asgi:application`,
      [],
    ],
    [
      "django alone",
      "django",
      { "requirements.txt": "django", "manage.py": "", "shop/wsgi.py": "" },
      `$ exec python3 manage.py runserver --noreload ${bind}:$PORT`,
      ["development_server"],
    ],
    [
      "streamlit",
      "streamlit",
      { "requirements.txt": "streamlit", "app.py": "" },
      `$ exec python3 -m streamlit run app.py --server.port $PORT --server.address ${bind} --server.headless true`,
      [],
    ],
  ];
  it.each(cases)("%s", (_, flavour, files, web, warnings) => {
    const seen = gist(planOf(files));
    expect(seen.kind).toBe(`python/${flavour}`);
    expect(seen.processes["web"]).toBe(web);
    expect(seen.warnings).toEqual(warnings);
  });

  it("plain programs: main.py is web, worker.py a worker", () => {
    expect(gist(planOf({ "main.py": "", "worker.py": "" })).processes).toEqual({ web: "python3 main.py", worker: "python3 worker.py" });
    expect(gist(planOf({ "worker.py": "" })).processes).toEqual({ worker: "python3 worker.py" });
  });

  it("a declared program is started when it is the only one", () => {
    const plan = planOf({
      "pyproject.toml": "[project]\nname='x'\n[project.scripts]\nserve = 'shop.cli:main'\n",
      "src/shop/__init__.py": "",
    });
    expect(plan.processes["web"]?.command).toEqual({ exec: ["python3", "-c", "import sys; from shop.cli import main; sys.exit(main())"] });
    expect(plan.env["PYTHONPATH"]).toBe("$ROOT/.berth/python:$ROOT/src");
  });

  it("Django's static files are collected only when the settings say where to", () => {
    const base = { "requirements.txt": "django\ngunicorn", "manage.py": "", "shop/wsgi.py": "" };
    expect(gist(planOf({ ...base, "shop/settings.py": "STATIC_URL = '/static/'\n" })).steps).toHaveLength(1);
    expect(gist(planOf({ ...base, "shop/settings.py": "STATIC_ROOT = BASE_DIR / 's'\n" })).steps[1]).toBe(
      "build: python3 manage.py collectstatic --noinput (offline)",
    );
  });

  it("front-end assets of a Python project are built too and their packages left out", () => {
    const plan = planOf({
      "requirements.txt": "django\ngunicorn",
      "manage.py": "",
      "shop/wsgi.py": "",
      "package.json": { scripts: { build: "tailwindcss" }, devDependencies: { tailwindcss: "3" } },
      "package-lock.json": {},
    });
    expect(plan.kind).toBe("python");
    expect(plan.steps.map((step) => step.name)).toEqual(["install", "install", "build"]);
    expect(plan.exclude).toContain("node_modules");
    expect(plan.warnings).toEqual([]);
  });
});

describe("versions of Python", () => {
  const cases: readonly (readonly [string, Files, string])[] = [
    [".python-version", { ".python-version": "3.12.4\n", "pyproject.toml": "[project]\nrequires-python='>=3.9'" }, "3.12.x"],
    ["runtime.txt", { "runtime.txt": "python-3.11.9" }, "3.11.x"],
    ["requires-python", { "pyproject.toml": "[project]\nrequires-python='>=3.9,<3.13,!=3.10.1'" }, ">=3.9 <3.13"],
    ["requires-python, compatible release", { "pyproject.toml": "[project]\nrequires-python='~=3.11'" }, ">=3.11 <4"],
    ["Poetry's caret", { "pyproject.toml": "[tool.poetry.dependencies]\npython='^3.10'" }, "^3.10"],
    ["Pipfile", { Pipfile: "[requires]\npython_version = '3.10'\n" }, "3.10.x"],
    [".tool-versions", { ".tool-versions": "python 3.13.0 system\n" }, "3.13.x"],
    ["mise.toml", { "mise.toml": '[tools]\npython = { version = "3.12" }\n' }, "3.12.x"],
  ];
  it.each(cases)("from %s", (_, files, wanted) => {
    expect(planOf({ "main.py": "", ...files }).tools[0]).toMatchObject({ name: "python", wanted });
  });
});
