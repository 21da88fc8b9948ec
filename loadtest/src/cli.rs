//! The command line. What clap cannot check alone is checked in `validate`, so that wrong use never starts a run.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::peers::Peer;
use crate::workload::Pace;

#[derive(Debug, Parser)]
#[command(
    name = "loadtest",
    version,
    about = "Rehearses a flash sale against a running Layby, checks its books afterwards, and measures it beside its peers",
    after_help = "Exit codes: 0 the books are right, 1 a fault, 2 wrong use, 3 the books are wrong"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Many buyers, few units, one bell; then proves that every unit went to exactly one of them
    FlashSale(FlashSale),
    /// Throughput of several peers, taking turns in one run; only the ratios are results
    Compare(Compare),
    /// Latency of a purchase at a steady rate, counted from the intended start
    Latency(Latency),
    /// Latency of a purchase at a steady rate, in turns with and without a storm of sign-ins
    SignIns(SignIns),
    /// Latency of a purchase at a steady rate, in turns alone and beside an account that takes and cancels holds without rest
    BusyAccount(BusyAccount),
    /// What thousands of live streams of a product cost: memory, the time of a change to all, and purchases beside them
    Live(Live),
    /// Throughput with the load spread over 1, 100 and 10,000 products
    ManyProducts(ManyProducts),
    /// The HTTP stack alone: checks the token, parses the order, answers 201
    #[command(hide = true)]
    NoOpServer(NoOpServer),
}

/// Where the server is and who may talk to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// Data directory of the server; its demo.json names the url and the admin token
    #[arg(long, default_value = "./layby-data", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Server elsewhere, as `http://HOST:PORT`
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Access token of an admin there
    #[arg(long, env = "LAYBY_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) admin_token: Option<String>,
    /// Buyers there, `user_id,token` a line, as written by `layby seed`
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FlashSale {
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) buyers: u32,
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) units: u32,
    /// Units one buyer may have; one in ten buyers tries to get more, at several screens at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) per_person: u32,
    /// Share of holders who walk away without paying
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    pub(crate) leave: f64,
    /// Share of holders whose card is declined, after which they give up
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    pub(crate) decline: f64,
    /// How long an unpaid hold lives
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1800))]
    pub(crate) hold_seconds: u32,
    /// `bell`: all at once; or a number: so many a second, at random moments
    #[arg(long, default_value = "bell", value_name = "bell|RATE")]
    pub(crate) arrival: Arrival,
    /// The window opens by its own schedule, and buyers come a few milliseconds too early and too late
    #[arg(long)]
    pub(crate) scheduled: bool,
    /// Who does what, repeatably; a random one is chosen and reported otherwise
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Keep-alive connections the buyers share
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// How often a buyer who was told `all_held` looks again, on average
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(crate) look_again_ms: u64,
    /// Give the sale up after so long; 60 s and 20 hold times unless told
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) time_limit_seconds: Option<u64>,
    /// Declined buyers may walk away although a started payment has prolonged their hold by two minutes
    #[arg(long)]
    pub(crate) patient: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Write the result here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Keep-alive connections, each with one request in flight
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// Measured seconds of a turn, after a warm-up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Connections, caches and clock speeds settle in this time, which does not count
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(crate) warm_up_ms: u64,
    /// Buyers whose tokens take turns
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) buyers: u32,
    /// Threads of the peers that run without Layby; as many as cores unless told
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) workers: Option<u32>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Write the result here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Compare {
    /// Peers in the order of their turns: no-op, layby, sold-out, journey, products-N
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) peers: Vec<Peer>,
    /// How often every peer has its turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ManyProducts {
    /// How many products, one peer each
    #[arg(long, value_delimiter = ',', default_value = "1,100,10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) products: Vec<u32>,
    /// How often every peer has its turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Latency {
    /// Purchases a second; half of a ceiling measured first unless told
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SignIns {
    /// Purchases a second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: u32,
    /// Sign-ins always under way, of the demo's buyer
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) parallel: u32,
    /// How often the two take turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BusyAccount {
    /// Purchases of the others a second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: u32,
    /// Holds that the account has taken and cancelled before it is measured
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) cycles: u64,
    /// Connections by which it builds up this past
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) parallel: u32,
    /// How often the two take turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Live {
    /// Live streams of the product
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) streams: u32,
    /// Purchases a second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: u32,
    /// How often purchases have a turn without and one with the streams
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NoOpServer {
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: u32,
    #[arg(long)]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arrival {
    Bell,
    RatePerSecond(f64),
}

/// A command line that parses but makes no sense.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl Cli {
    pub(crate) fn validate(&self) -> Result<(), Misuse> {
        match &self.scenario {
            Scenario::FlashSale(sale) => sale.validate(),
            Scenario::Compare(compare) => compare.load.server.validate(),
            Scenario::ManyProducts(many) => many.load.server.validate(),
            Scenario::Latency(latency) => latency.load.server.validate(),
            Scenario::SignIns(sign_ins) => sign_ins.load.server.validate(),
            Scenario::BusyAccount(busy) => busy.load.server.validate(),
            Scenario::Live(live) => live.load.server.validate(),
            Scenario::NoOpServer(_) => Ok(()),
        }
    }
}

impl FlashSale {
    fn validate(&self) -> Result<(), Misuse> {
        if self.leave + self.decline > 1.0 {
            let sum = self.leave + self.decline;
            return Err(Misuse(format!(
                "--leave and --decline are shares of the same holders and add up to {sum}; keep the sum at 1 or below"
            )));
        }
        if self.scheduled && self.arrival != Arrival::Bell {
            return Err(Misuse(
                "--scheduled is about the bell; leave out --arrival".to_owned(),
            ));
        }
        self.server.validate()
    }

    pub(crate) fn time_limit_seconds(&self) -> u64 {
        self.time_limit_seconds
            .unwrap_or(60 + 20 * u64::from(self.hold_seconds))
    }
}

impl Load {
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            connections: self.connections as usize,
            warm_up: Duration::from_millis(self.warm_up_ms),
            measured: Duration::from_secs(self.seconds),
        }
    }
}

impl ServerArgs {
    fn validate(&self) -> Result<(), Misuse> {
        if self.admin_token.is_some() && self.url.is_none() {
            return Err(Misuse(
                "--admin-token belongs to a server elsewhere; add its --url".to_owned(),
            ));
        }
        Ok(())
    }
}

impl FromStr for Arrival {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "bell" {
            return Ok(Self::Bell);
        }
        match text.parse::<f64>() {
            Ok(rate) if rate > 0.0 && rate <= 10_000_000.0 => Ok(Self::RatePerSecond(rate)),
            _ => {
                Err("give `bell` or buyers per second, more than 0 and at most 10000000".to_owned())
            }
        }
    }
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a share from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|err| err.to_string())?;
        cli.validate().map_err(|err| err.to_string())?;
        Ok(cli)
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn right_use_is_accepted() {
        for line in [
            "loadtest flash-sale",
            "loadtest flash-sale --buyers 100 --units 3 --arrival 250.5 --seed 7 --json out.json",
            "loadtest flash-sale --url http://10.0.0.7:8080 --admin-token t --tokens buyers.csv",
            "loadtest compare --peers no-op,layby --rounds 5",
            "loadtest compare --peers no-op,sold-out,journey,products-100",
            "loadtest latency --rate 20000",
            "loadtest many-products --products 1,10",
            "loadtest sign-ins --rate 500 --parallel 20",
        ] {
            parse(line).expect(line);
        }
    }

    #[test]
    fn wrong_use_is_told_what_to_do_instead() {
        for (line, part) in [
            ("loadtest flash-sale --leave 1.5", "share from 0 to 1"),
            (
                "loadtest flash-sale --leave 0.6 --decline 0.6",
                "keep the sum at 1 or below",
            ),
            (
                "loadtest flash-sale --arrival never",
                "give `bell` or buyers per second",
            ),
            (
                "loadtest flash-sale --scheduled --arrival 10",
                "leave out --arrival",
            ),
            ("loadtest flash-sale --admin-token t", "add its --url"),
            ("loadtest compare", "--peers"),
            (
                "loadtest compare --peers no-op,oracle",
                "no-op, layby, sold-out",
            ),
            ("loadtest compare --peers products-0", "products-N"),
        ] {
            let message = parse(line).expect_err(line);
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
