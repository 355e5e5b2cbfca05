import { parseArgs, styleText } from 'node:util';
import { print } from '../src/cli/output.ts';
import { ClusterStage } from './cluster/stage.ts';
import { tellOfCluster } from './cluster/story.ts';
import { Narrator } from './narrator.ts';
import { evidence, ProofError } from './proof.ts';
import { Stage } from './stage.ts';
import { tell } from './story.ts';

/** So few that each part has some of each topology, and so many that the bridge has addresses for its third. */
const ON_ONE_HOST = { min: 24, max: 600, default: 200 };
/** So few that each group has one on each host, and so many that the calls of each to each take seconds. */
const IN_CLUSTER = { min: 15, max: 150, default: 60 };

/** ms: some ten times what it takes on a slow machine */
const LIMIT_MS = 600_000;

const USAGE = `usage: npm run demo -- [cluster] [--sandboxes N]

Starts a daemon on a host made of namespaces, creates sandboxes, proves what is claimed of them, kills the daemon and
removes everything. Exits with 0 where every proof held, 1 where one did not, 2 where it was called wrongly.

  cluster         the same of three hosts and an etcd: sandboxes in groups talk while encryption is switched, keys are
                  changed, a daemon is killed and a host is lost

  --sandboxes N   how many, ${ON_ONE_HOST.min} to ${ON_ONE_HOST.max} (default: ${ON_ONE_HOST.default}); in a cluster ${IN_CLUSTER.min} to ${IN_CLUSTER.max} (default: ${IN_CLUSTER.default})`;

type Arguments = { readonly isCluster: boolean; readonly sandboxes: number; readonly help: boolean };

function readArguments(): Arguments {
  const { values, positionals } = parseArgs({
    options: { sandboxes: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
    allowPositionals: true,
  });
  const [what, ...more] = positionals;
  if ((what !== undefined && what !== 'cluster') || more.length > 0) {
    throw new TypeError(`Cannot show ${JSON.stringify(positionals.join(' '))}: want cluster, or nothing`);
  }
  const isCluster = what === 'cluster';
  const { min, max, default: usual } = isCluster ? IN_CLUSTER : ON_ONE_HOST;
  const sandboxes = Number(values.sandboxes ?? usual);
  if (!Number.isInteger(sandboxes) || sandboxes < min || sandboxes > max) {
    throw new TypeError(`Cannot use ${JSON.stringify(values.sandboxes)} as --sandboxes: want ${min} to ${max}`);
  }
  return { isCluster, sandboxes, help: values.help };
}

async function runCluster(sandboxes: number): Promise<void> {
  const narrator = new Narrator();
  using stage = new ClusterStage(narrator);
  stopEarly(stage);
  await tellOfCluster(stage, sandboxes);
  print('');
  stage.figures.add('proofs', String(narrator.proofs), `all of them held, in ${narrator.elapsedS.toFixed(0)} s`);
  stage.figures.print();
}

async function run(sandboxes: number): Promise<void> {
  const narrator = new Narrator();
  using stage = new Stage(narrator);
  stopEarly(stage);
  await tell(stage, sandboxes);
  print('');
  stage.figures.add('sandboxes', String(stage.ledger.counts.handedOut), 'created and removed; no address had two');
  stage.figures.add('proofs', String(narrator.proofs), `all of them held, in ${narrator.elapsedS.toFixed(0)} s`);
  stage.figures.print();
}

/** The namespaces go with the last process; what is on the disk must be taken away. It ends by itself, whatever hangs. */
function stopEarly(stage: Disposable): void {
  const stop = (code: number): void => {
    stage[Symbol.dispose]();
    process.exit(code);
  };
  // 128 and the signal's number, as a shell says it
  process.once('SIGINT', () => stop(130));
  process.once('SIGTERM', () => stop(143));
  process.once('SIGHUP', () => stop(129));
  const giveUp = (): void => {
    process.stderr.write(`\nGave up after ${LIMIT_MS / 1000} s: what was begun last does not end\n`);
    stop(1);
  };
  setTimeout(giveUp, LIMIT_MS).unref();
  // Whoever read along has gone.
  process.stdout.once('error', () => stop(1));
}

function tellFailure(error: unknown): void {
  const cross = styleText('red', '✗', { stream: process.stderr });
  if (error instanceof ProofError) {
    const lines = evidence(error.proof).split('\n');
    process.stderr.write(`\n  ${cross} ${error.message}\n${lines.map((line) => `    ${line}`).join('\n')}\n`);
  } else {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`\n  ${cross} The demo could not go on\n${text}\n`);
  }
}

let given: ReturnType<typeof readArguments> | undefined;
try {
  given = readArguments();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}\n`);
  process.exitCode = 2;
}
if (given?.help === true) print(USAGE);
else if (given !== undefined) {
  try {
    await (given.isCluster ? runCluster(given.sandboxes) : run(given.sandboxes));
  } catch (error) {
    tellFailure(error);
    process.exitCode = 1;
  }
}
