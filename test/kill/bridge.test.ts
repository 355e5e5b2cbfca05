import { describeKills, KERNEL_CALLS } from '../support/kill.ts';

for (const command of ['create', 'remove']) describeKills('bridge', command, KERNEL_CALLS);
