export { createRouter, type Recipient, type Routed, type Router, type RouterOptions, type Sender } from './router.ts';
