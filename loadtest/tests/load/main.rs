//! The load test as its users meet it: the program, its exit codes and its JSON, against a small server that can be
//! told to misbehave. A verdict that cannot fail proves nothing, so every one of them is made to fail here.

mod comparisons;
mod fake;
mod flash_sales;
mod latencies;
mod program;
