//! The environment variable of every flag: `SHOAL_<COMMAND>_<FLAG>`, derived from its name.
//!
//! Done here once for all, on the built command line, so that a new flag cannot be forgotten. `clap` gives variables
//! their place: after the flag, before the default (where the configuration file is put, see `config_file`).

use clap::Command;
use clap::builder::BoolishValueParser;

/// Gives every flag of every command its variable.
pub(crate) fn with_variables(root: Command) -> Command {
    below(root, None)
}

/// Does so for the commands of a command; `path` is its own name, if it is not the root.
fn below(mut command: Command, path: Option<&str>) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        let path = path.map_or_else(|| name.clone(), |path| format!("{path}_{name}"));
        command = command.mut_subcommand(&name, |sub| {
            let sub = sub.mut_args(|arg| {
                let Some(flag) = arg.get_long() else { return arg };
                let variable = variable(&path, flag);
                let is_switch = matches!(arg.get_action(), clap::ArgAction::SetTrue);
                // In -h the names would only repeat themselves.
                let arg = arg.env(variable).hide_env_values(true).hide_env(true);
                if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg }
            });
            below(sub, Some(&path))
        });
    }
    command
}

/// The variable of a command's flag; of a command's command the names stand one after the other.
pub(crate) fn variable(command: &str, flag: &str) -> String {
    format!("SHOAL_{command}_{flag}").replace(['-', ' '], "_").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;

    #[test]
    fn names_are_derived_from_command_and_flag() {
        assert_eq!(variable("download", "no-port-mapping"), "SHOAL_DOWNLOAD_NO_PORT_MAPPING");
    }

    #[test]
    fn every_flag_of_every_command_has_its_variable() {
        let root = with_variables(Cli::command());
        for sub in root.get_subcommands() {
            for arg in sub.get_arguments().filter(|a| a.get_long().is_some()) {
                let expected = variable(sub.get_name(), arg.get_long().unwrap());
                assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(expected.as_str()));
            }
        }
    }

    #[test]
    fn flags_of_a_commands_command_carry_both_names() {
        let root = with_variables(Cli::command());
        let swarm = root.find_subcommand("sim").unwrap().find_subcommand("swarm").unwrap();
        let peers = swarm.get_arguments().find(|arg| arg.get_long() == Some("peers")).unwrap();
        assert_eq!(peers.get_env().and_then(|e| e.to_str()), Some("SHOAL_SIM_SWARM_PEERS"));
    }

    #[test]
    fn the_command_line_stays_sound() {
        with_variables(Cli::command()).debug_assert();
    }
}
