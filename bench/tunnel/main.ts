import { runProgram } from '../program.ts';
import { connecting } from './rows/connect.ts';
import { cycles } from './rows/cycles.ts';

await runProgram({
  name: 'bench:tunnel',
  summary: 'Measures tunnels against wg-quick, in namespaces of its own.',
  rows: [connecting, cycles],
  touchesMemory: false,
});
