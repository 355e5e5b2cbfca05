import { runProgram } from './program.ts';
import { churn } from './rows/churn.ts';
import { cold } from './rows/cold.ts';
import { growth } from './rows/growth.ts';
import { health } from './rows/health.ts';
import { memory } from './rows/memory.ts';
import { network } from './rows/network.ts';
import { pool } from './rows/pool.ts';
import { remove } from './rows/remove.ts';
import { restart } from './rows/restart.ts';
import { warm } from './rows/warm.ts';

await runProgram({
  name: 'bench',
  summary: 'Measures Culvert side by side with what else makes such networks, in namespaces of its own.',
  // those with a crowd come last: it would disturb the others
  rows: [cold, warm, health, churn, remove, network, growth, memory, restart, pool],
  touchesMemory: true,
});
