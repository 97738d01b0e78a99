//! The swarm machine as claims: one swarm, scripted peers, no driver.

mod announcing;
mod cases;
mod dialing;
mod doubt;
mod exchange;
mod found;
mod hostile;
mod leeching;
mod script;
mod seeding;
mod seeking;
mod super_seeding;
mod web_seeds;
