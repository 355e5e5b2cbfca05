import { fail } from './failure.ts';
import { createProgram } from './program.ts';

/*
 * The command line. Exit codes: 0 done, 1 failed, 2 wrong use. What a command prints goes to stdout; what went wrong
 * goes to stderr, as one line or, with --json, as one object.
 */

const parameters = process.argv.slice(2);
/** How long after a failure the process may take to end by itself. */
const LEFT_MS = 1000;

// A reader that has seen enough, such as head(1), is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

try {
  const program = await createProgram(parameters[0]);
  await program.parseAsync(parameters, { from: 'user' });
} catch (error) {
  fail(error, parameters);
  // what is still asked, such as a resolver that does not answer, is not waited for
  setTimeout(() => process.exit(), LEFT_MS).unref();
}
