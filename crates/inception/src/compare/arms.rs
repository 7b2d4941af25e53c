//! What is compared: networks, and variations of their recipe.

use std::str::FromStr;

use super::pairs::PAIRS;

/// One of the things that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Name of the network.
    pub net: String,
    /// Values of the recipe that are its own, `recipe` for another recipe.
    pub sets: Vec<(String, String)>,
}

impl Arm {
    /// The network, and what is its own: `inception_resnet_v2 residual_scale=1`.
    pub fn name(&self) -> String {
        let sets = self.sets.iter().map(|(key, value)| format!(" {key}={value}"));
        std::iter::once(self.net.clone()).chain(sets).collect()
    }

    /// The recipe that it begins with, where it is one of its own.
    pub fn recipe(&self) -> Option<&str> {
        self.sets.iter().rfind(|(key, _)| key == "recipe").map(|(_, value)| value.as_str())
    }
}

/// `KEY=A,B,…`: a value of the recipe and those it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vary {
    key: String,
    values: Vec<String>,
}

impl FromStr for Vary {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected KEY=A,B, for example residual_scale=1,0.1";
        let (key, values) = text.split_once('=').ok_or(expected)?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().into()).collect();
        let name = |c: char| c.is_ascii_alphanumeric() || "_.-+".contains(c);
        let is_name = |value: &String| !value.is_empty() && value.chars().all(name);
        if values.len() < 2 || !values.iter().all(is_name) {
            return Err(format!("{expected}: two or more numbers or words"));
        }
        Ok(Vary { key: key.trim().into(), values })
    }
}

/// Every network with every combination of values.
pub fn arms(nets: &[String], vary: &[Vary]) -> Vec<Arm> {
    let mut arms: Vec<Arm> = nets.iter().map(|net| Arm { net: net.clone(), sets: Vec::new() }).collect();
    for Vary { key, values } in vary {
        let with = |arm: &Arm, value: &String| {
            let set = (key.clone(), value.clone());
            Arm { sets: arm.sets.iter().cloned().chain([set]).collect(), ..arm.clone() }
        };
        arms = arms.iter().flat_map(|arm| values.iter().map(|value| with(arm, value))).collect();
    }
    arms
}

/// Which of the arms called `names` one figure shows: the paper's pairs, or the variations of one network; then all, where that is more.
/// With a name that a file may have.
pub fn groups(names: &[String]) -> Vec<(String, Vec<usize>)> {
    let net = |i: usize| names[i].split(' ').next().unwrap_or_default();
    let all: Vec<usize> = (0..names.len()).collect();
    let of = |nets: &[&str]| all.iter().copied().filter(|&i| nets.contains(&net(i))).collect::<Vec<_>>();
    let is_varied = names.iter().any(|name| name.contains(' '));
    let mut groups: Vec<(String, Vec<usize>)> = if is_varied {
        let mut nets: Vec<&str> = all.iter().map(|&i| net(i)).collect();
        nets.dedup();
        nets.into_iter().map(|net| (net.into(), of(&[net]))).collect()
    } else {
        let both = PAIRS.iter().filter(|pair| of(&pair[..]).len() == 2);
        both.map(|pair| (pair.join("-"), of(&pair[..]))).collect()
    };
    if groups.len() != 1 || groups[0].1.len() != all.len() {
        groups.push(("all".into(), all));
    }
    groups
}

/// What is to be read beside the line of an arm, which is called `name`, in a figure of `group`: what it has of its own, the table of a
/// recipe's key left out.
pub(super) fn label(name: &str, group: &str) -> String {
    let own = name.strip_prefix(group).and_then(|rest| rest.strip_prefix(' ')).unwrap_or(name);
    let short = |word: &str| match word.split_once('=') {
        Some((key, value)) => format!("{}={value}", key.rsplit('.').next().unwrap_or(key)),
        None => word.into(),
    };
    own.split(' ').map(short).collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_label_has_what_is_not_the_whole_figures() {
        let name = "inception_v3.torchvision residual_scale=0.1 schedule.lr=0.45";
        assert_eq!(label(name, "inception_v3.torchvision"), "residual_scale=0.1 lr=0.45");
        assert_eq!(label(name, "all"), "inception_v3.torchvision residual_scale=0.1 lr=0.45");
        assert_eq!(label("inception_v3", "inception_v3-inception_resnet_v1"), "inception_v3");
    }

    #[test]
    fn networks_times_variations() {
        let vary: Vec<Vary> =
            ["residual_scale=1,0.1", "recipe=paper,momentum"].map(|v| v.parse().expect("valid")).into();
        let found = arms(&names(&["a", "b"]), &vary);
        let expected = [
            "a residual_scale=1 recipe=paper",
            "a residual_scale=1 recipe=momentum",
            "a residual_scale=0.1 recipe=paper",
        ];
        assert_eq!(found.len(), 8);
        assert_eq!(found[..3].iter().map(Arm::name).collect::<Vec<_>>(), expected);
        assert_eq!(found[1].recipe(), Some("momentum"));
        for wrong in ["epochs", "epochs=3", "epochs=3,", "train.scale=[1,2]", "recipe=../a,b c"] {
            assert!(wrong.parse::<Vary>().expect_err(wrong).contains("expected KEY=A,B"));
        }
    }

    #[test]
    fn figures_show_pairs_or_variations_and_then_all() {
        let four = names(&["inception_v3", "inception_resnet_v1", "inception_v4", "inception_resnet_v2"]);
        let found = groups(&four);
        assert_eq!(
            found.iter().map(|(_, who)| who.clone()).collect::<Vec<_>>(),
            [vec![0, 1], vec![2, 3], vec![0, 1, 2, 3]]
        );
        assert_eq!(found[1].0, "inception_v4-inception_resnet_v2");
        assert_eq!(groups(&four[..2]), [("inception_v3-inception_resnet_v1".to_string(), vec![0, 1])]);
        assert_eq!(groups(&four[1..3]), [("all".to_string(), vec![0, 1])]);
        let varied = names(&["inception_v4 a=1", "inception_v4 a=2"]);
        assert_eq!(groups(&varied), [("inception_v4".to_string(), vec![0, 1])]);
    }
}
