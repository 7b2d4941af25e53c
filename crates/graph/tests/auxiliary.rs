//! The auxiliary head: which networks have it, its published counts, shapes and initial values, and that nothing else
//! changes.

use inception_graph::{Graph, NETWORKS, Op, Role, Spec, Weights, build};

const WITH: [&str; 5] = [
    "inception_v3",
    "inception_v4",
    "inception_resnet_v2",
    "inception_resnet_v2.slim",
    "inception_v3.torchvision",
];

fn graph(spec: Spec) -> Graph {
    build(&spec).expect("a valid network")
}

/// Values of a file: running statistics count, γ where the program that wrote it has one.
fn values_in_file(graph: &Graph, gamma: bool) -> usize {
    graph.params().iter().filter(|p| gamma || p.role != Role::Gamma).map(|p| p.len()).sum()
}

/// The contents of the published files that have the head; torchvision's count of parameters; the head's own, with β alone and
/// with γ.
#[test]
fn counts_are_the_published_ones() {
    let slim = [
        ("inception_v3", 27_182_194),
        ("inception_v4", 46_074_066),
        ("inception_resnet_v2.slim", 59_244_594),
    ];
    for (net, values) in slim {
        assert_eq!(values_in_file(&graph(Spec::new(net).classes(1001).aux()), false), values, "{net}");
    }
    let torchvision = graph(Spec::new("inception_v3.torchvision").aux());
    assert_eq!(values_in_file(&torchvision, true), 27_197_488);
    assert_eq!(torchvision.parameter_count(), 27_161_264);
    let (with, without) = (graph(Spec::new("inception_v3").aux()), graph(Spec::new("inception_v3")));
    assert_eq!(with.parameter_count() - without.parameter_count(), 3_326_696);
    assert_eq!(with.parameter_count_without_gamma() - without.parameter_count_without_gamma(), 3_325_800);
}

#[test]
fn it_reads_the_last_block_of_the_middle_grid() {
    let sources = ["mixed_6e", "mixed_6h", "block17_10", "block17_20", "mixed_6e"];
    for (net, source) in WITH.into_iter().zip(sources) {
        let graph = graph(Spec::new(net).aux());
        let logits = graph.aux_logits().expect("a head");
        let [pool, pointwise, last] =
            ["pool", "conv_1b", "conv_2a"].map(|name| graph.find(&format!("aux_logits/{name}")).expect(name));
        let below = [logits, last, pointwise, pool].map(|id| graph.node(id).inputs[0]);
        assert_eq!(below[..3], [last, pointwise, pool], "{net}");
        assert_eq!(graph.node(below[3]).name, source, "{net}");
        let shapes = [pool, pointwise, last, logits].map(|id| graph.node(id).shape);
        let c = graph.node(below[3]).shape.c;
        assert_eq!(shapes, [[5, 5, c].into(), [5, 5, 128].into(), [1, 1, 768].into(), [1, 1, 1000].into()]);
        assert_eq!(graph.node(below[3]).shape, [17, 17, c].into());
    }
}

/// Whatever is computed without the head is the same to the last bit, initial values too.
#[test]
fn it_stands_behind_everything_else() {
    for net in NETWORKS {
        let spec = Spec::new(net.name).img_size(139).width(0.25).classes(7);
        let (with, without) = (graph(spec.clone().aux()), graph(spec));
        assert_eq!(with.aux_logits().is_some(), WITH.contains(&net.name), "{}", net.name);
        assert_eq!(without.aux_logits(), None);
        let cut = with.without_aux();
        assert_eq!(cut.spec(), without.spec());
        assert_eq!(format!("{cut:?}"), format!("{without:?}"), "{}", net.name);
        assert_eq!(with.outputs(), without.outputs(), "{}: it is none of the answers", net.name);
        let [whole, part] = [&with, &without].map(|graph| Weights::init(graph, 3));
        assert_eq!(whole.first_of(&cut).data, part.data, "{}", net.name);
        assert_eq!(whole.first_of(&cut).params(), part.params(), "{}", net.name);
    }
    assert_eq!(graph(Spec::new("inception_v4").classes(0).aux()).aux_logits(), None, "nothing to classify");
}

/// Width scales its convolutions, the second of which takes what the pool leaves.
#[test]
fn other_sizes_and_widths() {
    for (side, grid) in [(107, 1), (139, 1), (203, 3), (299, 5), (395, 7)] {
        for net in WITH {
            let graph = graph(Spec::new(net).img_size(side).width(0.5).classes(7).aux());
            assert_eq!(
                graph.shape_of("aux_logits/conv_1b"),
                Some([grid, grid, 64].into()),
                "{net} at {side}"
            );
            assert_eq!(graph.shape_of("aux_logits/conv_2a"), Some([1, 1, 384].into()), "{net} at {side}");
            assert_eq!(graph.shape_of("aux_logits"), Some([1, 1, 7].into()), "{net} at {side}");
            let Op::Conv { kernel, .. } = graph.node(graph.find("aux_logits/conv_2a").expect("exists")).op
            else {
                panic!("a convolution")
            };
            assert_eq!(kernel, [grid; 2]);
        }
    }
    for net in WITH {
        let error = build(&Spec::new(net).img_size(96).aux()).expect_err("too small").to_string();
        for part in ["with its auxiliary head", "`aux_logits/pool`", "smallest input size is 107"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

/// Inception-v3's two last kernels start with standard deviations of 0.01 and 0.001, cut at two of them, which leaves 0.8796 of
/// each; the other networks' as all of their kernels.
#[test]
fn initial_values() {
    let deviation = |net: &str, name: &str| {
        let graph = graph(Spec::new(net).width(0.5).classes(100).aux());
        let weights = Weights::init(&graph, 5);
        let kernel = weights.get(weights.index(name).expect("exists"));
        let largest = kernel.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let square = kernel.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / kernel.len() as f64;
        (square.sqrt(), f64::from(largest))
    };
    let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.01;
    for (name, expected) in [("aux_logits/conv_2a/weight", 0.01), ("aux_logits/weight", 0.001)] {
        let (found, largest) = deviation("inception_v3", name);
        assert!(close(found, 0.8796 * expected), "{name}: {found}");
        assert!(largest < 2.0 * expected && largest > 1.98 * expected, "{name}: {largest}");
    }
    let he = |fan_in: f64| (2.0 / fan_in).sqrt();
    assert!(close(deviation("inception_v3", "aux_logits/conv_1b/weight").0, he(384.0)));
    assert!(close(deviation("inception_v4", "aux_logits/conv_2a/weight").0, he(1600.0)));
    let xavier = (6.0f64 / 484.0).sqrt();
    assert!(close(deviation("inception_v4", "aux_logits/weight").0, xavier / 3.0f64.sqrt()));
}
