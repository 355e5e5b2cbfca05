import { describeKills, KERNEL_CALLS } from '../support/kill.ts';

describeKills('microvm', 'helped', KERNEL_CALLS);
