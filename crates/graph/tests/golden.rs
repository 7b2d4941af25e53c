//! Every network against the numbers of the paper's figures and of the published implementations, exact to the unit.

use inception_graph::{Graph, GraphError, NETWORKS, Op, Pad, Role, Shape, Spec, build};

/// What is known of a network at 1000 classes (its own where it has others).
struct Golden {
    net: &'static str,
    /// Parameters with β alone, with γ and β.
    parameters: [usize; 2],
    macs: u64,
    /// Convolutions (linear up-projections included) and batch-norm channels.
    convolutions: usize,
    batch_norm_channels: usize,
    /// Convolution weights and MACs of each stage, first and last endpoint of the stage.
    stages: &'static [(&'static str, &'static str, usize, u64)],
    /// Shapes of endpoints at the network's own size, the stem's first. An endpoint that is not listed has the shape of
    /// the next that is.
    stem: &'static [(&'static str, [usize; 3])],
    shapes: &'static [(&'static str, [usize; 3])],
}

/// Figure 14 and the release of Inception-v3.
const STEM_SEQUENTIAL: &[(&str, [usize; 3])] = &[
    ("conv_1a", [149, 149, 32]),
    ("conv_2a", [147, 147, 32]),
    ("conv_2b", [147, 147, 64]),
    ("pool_3a", [73, 73, 64]),
    ("conv_3b", [73, 73, 80]),
    ("conv_4a", [71, 71, 192]),
];

/// Figure 3.
const STEM_BRANCHED: &[(&str, [usize; 3])] = &[
    ("conv_1a", [149, 149, 32]),
    ("conv_2a", [147, 147, 32]),
    ("conv_2b", [147, 147, 64]),
    ("mixed_3a", [73, 73, 160]),
    ("mixed_4a", [71, 71, 192]),
    ("mixed_5a", [35, 35, 384]),
];

/// The grids of [`STEM_SEQUENTIAL`] at FaceNet's input of 160 pixels.
const STEM_FACENET: &[(&str, [usize; 3])] = &[
    ("conv_1a", [79, 79, 32]),
    ("conv_2a", [77, 77, 32]),
    ("conv_2b", [77, 77, 64]),
    ("pool_3a", [38, 38, 64]),
    ("conv_3b", [38, 38, 80]),
    ("conv_4a", [36, 36, 192]),
];

const GOLDEN: &[Golden] = &[
    Golden {
        net: "inception_v3",
        parameters: [23_817_352, 23_834_568],
        macs: 5_713_216_096,
        convolutions: 94,
        batch_norm_channels: 17_216,
        stages: &[
            ("conv_1a", "pool_5a", 171_872, 1_340_779_616),
            ("mixed_5b", "mixed_5d", 815_616, 999_129_600),
            ("mixed_6a", "mixed_6a", 1_152_000, 401_937_408),
            ("mixed_6b", "mixed_6e", 6_807_552, 1_967_382_528),
            ("mixed_7a", "mixed_7a", 1_695_744, 291_004_416),
            ("mixed_7b", "mixed_7c", 11_108_352, 710_934_528),
        ],
        stem: STEM_SEQUENTIAL,
        shapes: &[
            ("pool_5a", [35, 35, 192]),
            ("mixed_5b", [35, 35, 256]),
            ("mixed_5d", [35, 35, 288]),
            ("mixed_6a", [17, 17, 768]),
            ("mixed_6e", [17, 17, 768]),
            ("mixed_7a", [8, 8, 1280]),
            ("mixed_7c", [8, 8, 2048]),
            ("dropout", [1, 1, 2048]),
            ("logits", [1, 1, 1000]),
        ],
    },
    Golden {
        net: "inception_v4",
        parameters: [42_648_232, 42_679_816],
        macs: 12_253_974_624,
        convolutions: 149,
        batch_norm_channels: 31_584,
        stages: &[
            ("conv_1a", "mixed_5a", 604_000, 2_289_943_648),
            ("mixed_5b", "mixed_5e", 1_265_664, 1_550_438_400),
            ("mixed_6a", "mixed_6a", 2_304_000, 1_097_164_800),
            ("mixed_6b", "mixed_6h", 20_521_984, 5_930_853_376),
            ("mixed_7a", "mixed_7a", 2_744_320, 511_098_880),
            ("mixed_7b", "mixed_7d", 13_639_680, 872_939_520),
        ],
        stem: STEM_BRANCHED,
        shapes: &[
            ("mixed_5e", [35, 35, 384]),
            ("mixed_6a", [17, 17, 1024]),
            ("mixed_6h", [17, 17, 1024]),
            ("mixed_7a", [8, 8, 1536]),
            ("mixed_7d", [8, 8, 1536]),
            ("dropout", [1, 1, 1536]),
            ("logits", [1, 1, 1000]),
        ],
    },
    Golden {
        net: "inception_resnet_v1",
        parameters: [22_742_808, 22_756_328],
        macs: 6_206_361_696,
        convolutions: 127,
        batch_norm_channels: 13_520,
        stages: &[
            ("conv_1a", "conv_4b", 614_240, 1_882_680_416),
            ("block35_1", "block35_5", 384_000, 470_400_000),
            ("mixed_6a", "mixed_6a", 1_708_032, 850_169_856),
            ("block17_1", "block17_10", 6_881_280, 1_988_689_920),
            ("mixed_7a", "mixed_7a", 3_342_336, 501_448_704),
            ("block8_1", "block8_5", 7_987_200, 511_180_800),
        ],
        stem: STEM_SEQUENTIAL,
        shapes: &[
            ("conv_4b", [35, 35, 256]),
            ("block35_5", [35, 35, 256]),
            ("mixed_6a", [17, 17, 896]),
            ("block17_10", [17, 17, 896]),
            ("mixed_7a", [8, 8, 1792]),
            ("block8_5", [8, 8, 1792]),
            ("dropout", [1, 1, 1792]),
            ("logits", [1, 1, 1000]),
        ],
    },
    Golden {
        net: "inception_resnet_v2",
        parameters: [32_417_496, 32_433_928],
        macs: 9_257_953_632,
        convolutions: 132,
        batch_norm_channels: 16_432,
        stages: &[
            ("conv_1a", "mixed_5a", 604_000, 2_289_943_648),
            ("block35_1", "block35_5", 683_520, 837_312_000),
            ("mixed_6a", "mixed_6a", 2_899_968, 1_482_178_560),
            ("block17_1", "block17_10", 11_694_080, 3_379_589_120),
            ("mixed_7a", "mixed_7a", 3_926_016, 599_629_824),
            ("block8_1", "block8_5", 10_424_320, 667_156_480),
        ],
        stem: STEM_BRANCHED,
        shapes: &[
            ("block35_5", [35, 35, 384]),
            ("mixed_6a", [17, 17, 1152]),
            ("block17_10", [17, 17, 1152]),
            ("mixed_7a", [8, 8, 2144]),
            ("block8_5", [8, 8, 2144]),
            ("dropout", [1, 1, 2144]),
            ("logits", [1, 1, 1000]),
        ],
    },
    Golden {
        net: "inception_resnet_v2.slim",
        parameters: [55_813_192, 55_843_464],
        macs: 13_155_794_016,
        convolutions: 244,
        batch_norm_channels: 30_272,
        stages: &[
            ("conv_1a", "pool_5a", 171_872, 1_340_779_616),
            ("mixed_5b", "mixed_5b", 267_264, 267_264 * 35 * 35),
            ("block35_1", "block35_10", 1_223_680, 1_223_680 * 35 * 35),
            ("mixed_6a", "mixed_6a", 2_662_400, 1_398_185_984),
            ("block17_1", "block17_20", 22_487_040, 22_487_040 * 17 * 17),
            ("mixed_7a", "mixed_7a", 3_876_864, 585_424_896),
            ("block8_1", "block8_10", 20_316_160, 20_316_160 * 8 * 8),
            ("conv_7b", "conv_7b", 3_194_880, 3_194_880 * 8 * 8),
        ],
        stem: STEM_SEQUENTIAL,
        shapes: &[
            ("pool_5a", [35, 35, 192]),
            ("mixed_5b", [35, 35, 320]),
            ("block35_10", [35, 35, 320]),
            ("mixed_6a", [17, 17, 1088]),
            ("block17_20", [17, 17, 1088]),
            ("mixed_7a", [8, 8, 2080]),
            ("block8_10", [8, 8, 2080]),
            ("conv_7b", [8, 8, 1536]),
            ("dropout", [1, 1, 1536]),
            ("logits", [1, 1, 1000]),
        ],
    },
    Golden {
        net: "inception_resnet_v1.facenet",
        parameters: [23_467_824, 23_482_624],
        macs: 1_417_662_304,
        convolutions: 133,
        batch_norm_channels: 14_800,
        stages: &[],
        stem: STEM_FACENET,
        shapes: &[
            ("conv_4b", [17, 17, 256]),
            ("block35_5", [17, 17, 256]),
            ("mixed_6a", [8, 8, 896]),
            ("block17_10", [8, 8, 896]),
            ("mixed_7a", [3, 3, 1792]),
            ("block8_6", [3, 3, 1792]),
            ("dropout", [1, 1, 1792]),
            ("embedding", [1, 1, 512]),
        ],
    },
    Golden {
        net: "inception_v3.fid",
        parameters: [23_833_744, 23_850_960],
        macs: 5_713_216_096 + 8 * 2048,
        convolutions: 94,
        batch_norm_channels: 17_216,
        stages: &[],
        stem: STEM_SEQUENTIAL,
        shapes: &[
            ("pool_5a", [35, 35, 192]),
            ("mixed_5b", [35, 35, 256]),
            ("mixed_5d", [35, 35, 288]),
            ("mixed_6a", [17, 17, 768]),
            ("mixed_6e", [17, 17, 768]),
            ("mixed_7a", [8, 8, 1280]),
            ("mixed_7c", [8, 8, 2048]),
            ("dropout", [1, 1, 2048]),
            ("logits", [1, 1, 1008]),
        ],
    },
    Golden {
        net: "inception_v3.torchvision",
        parameters: [23_817_352, 23_834_568],
        macs: 5_713_216_096,
        convolutions: 94,
        batch_norm_channels: 17_216,
        stages: &[],
        stem: STEM_SEQUENTIAL,
        shapes: &[
            ("pool_5a", [35, 35, 192]),
            ("mixed_5b", [35, 35, 256]),
            ("mixed_5d", [35, 35, 288]),
            ("mixed_6a", [17, 17, 768]),
            ("mixed_6e", [17, 17, 768]),
            ("mixed_7a", [8, 8, 1280]),
            ("mixed_7c", [8, 8, 2048]),
            ("dropout", [1, 1, 2048]),
            ("logits", [1, 1, 1000]),
        ],
    },
];

fn graph(net: &str) -> Graph {
    build(&Spec::new(net)).expect("a valid network")
}

#[test]
fn every_network_has_its_golden_numbers() {
    assert_eq!(
        GOLDEN.iter().map(|g| g.net).collect::<Vec<_>>(),
        NETWORKS.iter().map(|n| n.name).collect::<Vec<_>>()
    );
    for golden in GOLDEN {
        let (net, graph) = (golden.net, graph(golden.net));
        let parameters = [graph.parameter_count_without_gamma(), graph.parameter_count()];
        assert_eq!(parameters, golden.parameters, "{net}: parameters");
        assert_eq!(graph.macs(), golden.macs, "{net}: MACs");
        let convolutions = graph.nodes().iter().filter(|n| matches!(n.op, Op::Conv { .. })).count();
        assert_eq!(convolutions, golden.convolutions, "{net}: convolutions");
        let gammas = graph.params().iter().filter(|p| p.role == Role::Gamma).map(|p| p.len()).sum::<usize>();
        assert_eq!(gammas, golden.batch_norm_channels, "{net}: batch-norm channels");
        let mut listed = golden.stem.iter().chain(golden.shapes).peekable();
        for (_, node) in graph.endpoints().skip(1) {
            let (name, shape) = listed.peek().expect("a shape for every endpoint");
            assert_eq!(node.shape, Shape::from(*shape), "{net}: shape of {}", node.name);
            listed.next_if(|_| node.name == *name);
        }
        assert_eq!(listed.next(), None, "{net}: an endpoint is missing");
        for &(first, last, weights, macs) in golden.stages {
            let endpoints: Vec<_> = graph.endpoints().map(|(id, node)| (id.0, node.name.as_str())).collect();
            let at = |name| endpoints.iter().position(|(_, n)| *n == name).expect("an endpoint");
            let nodes = endpoints[at(first) - 1].0 + 1..=endpoints[at(last)].0;
            let ids = || graph.ids().filter(|id| nodes.contains(&id.0));
            let kernels = ids().flat_map(|id| graph.node_params(id)).filter(|p| p.role == Role::Weight);
            assert_eq!(kernels.map(|p| p.len()).sum::<usize>(), weights, "{net}: weights of {first}–{last}");
            assert_eq!(
                ids().map(|id| graph.node_macs(id)).sum::<u64>(),
                macs,
                "{net}: MACs of {first}–{last}"
            );
        }
    }
}

#[test]
fn other_sizes() {
    let at = |net: &str, side| build(&Spec::new(net).img_size(side)).expect("a valid network");
    assert_eq!(at("inception_resnet_v1", 160).macs(), 1_404_159_840);
    assert_eq!(at("inception_resnet_v1.facenet", 299).macs(), 6_307_723_360);
    for net in NETWORKS {
        for (side, grids) in [(299, [35, 17, 8]), (160, [17, 8, 3]), (75, [7, 3, 1])] {
            let graph = at(net.name, side);
            let stem = graph.nodes()[..graph.find("mixed_6a").expect("a reduction").0].iter();
            let before = stem.rev().find(|n| !n.name.contains('/')).expect("a stem");
            let shapes =
                [before.shape, graph.shape_of("mixed_6a").unwrap(), graph.shape_of("mixed_7a").unwrap()];
            assert_eq!(shapes.map(|s| [s.h, s.w]), grids.map(|g| [g, g]), "{} at {side}", net.name);
        }
        let error = build(&Spec::new(net.name).img_size(74)).expect_err("too small");
        let GraphError::TooSmall { smallest, img_size, .. } = &error else { panic!("{error}") };
        assert_eq!((*smallest, *img_size), (75, 74), "{}", net.name);
        assert!(error.to_string().contains("smallest input size is 75"), "{error}");
    }
}

/// Items 3–7 of the figures' inconsistencies: a swapped pair leaves every count unchanged.
#[test]
fn kernels_have_the_released_orientation() {
    let cases: &[(&str, &str, &[[usize; 2]])] = &[
        ("inception_v4", "mixed_4a/b1", &[[1, 1], [1, 7], [7, 1], [3, 3]]),
        ("inception_v4", "mixed_6b/b1", &[[1, 1], [1, 7], [7, 1]]),
        ("inception_v4", "mixed_6h/b2", &[[1, 1], [7, 1], [1, 7], [7, 1], [1, 7]]),
        ("inception_v4", "mixed_7a/b1", &[[1, 1], [1, 7], [7, 1], [3, 3]]),
        ("inception_v4", "mixed_7b/b1", &[[1, 1], [1, 3], [3, 1]]),
        ("inception_v4", "mixed_7d/b2", &[[1, 1], [3, 1], [1, 3], [1, 3], [3, 1]]),
        ("inception_v3", "mixed_6b/b2", &[[1, 1], [7, 1], [1, 7], [7, 1], [1, 7]]),
        ("inception_v3", "mixed_7c/b2", &[[1, 1], [3, 3], [1, 3], [3, 1]]),
        ("inception_resnet_v1", "block17_1/b1", &[[1, 1], [1, 7], [7, 1]]),
        ("inception_resnet_v2", "block8_1/b1", &[[1, 1], [1, 3], [3, 1]]),
    ];
    for (net, branch, kernels) in cases {
        let graph = graph(net);
        let found = graph.nodes().iter().filter(|n| n.name.starts_with(&format!("{branch}/")));
        let found: Vec<[usize; 2]> = found
            .map(|n| match n.op {
                Op::Conv { kernel, .. } => kernel,
                _ => panic!("{} is no convolution", n.name),
            })
            .collect();
        assert_eq!(&found, kernels, "{net} {branch}");
    }
}

/// The pool comes first in the first mix of Figure 3's stem and last in its third, as the released weights need it.
#[test]
fn concats_have_the_published_order() {
    let graph = graph("inception_v4");
    let is_pool = |name: &str| matches!(graph.node(graph.find(name).expect(name)).op, Op::MaxPool { .. });
    assert!(is_pool("mixed_3a/b0/0") && is_pool("mixed_5a/b1/0") && is_pool("mixed_6a/b2/0"));
    for node in graph.nodes().iter().filter(|n| matches!(n.op, Op::Concat)) {
        assert!(node.inputs.windows(2).all(|w| w[0] < w[1]), "{}", node.name);
    }
}

#[test]
fn variants_differ_where_they_must() {
    let pools = |net: &str| -> Vec<bool> {
        let graph = graph(net);
        let counts = graph.nodes().iter().filter_map(|n| match n.op {
            Op::AvgPool { count_padding, .. } => Some(count_padding),
            _ => None,
        });
        counts.collect()
    };
    assert_eq!(pools("inception_v3"), [false; 9]);
    assert_eq!(pools("inception_v3.torchvision"), [true; 9]);
    assert_eq!(pools("inception_v3.fid"), [false; 8]);
    let fid = graph("inception_v3.fid");
    let last = &fid.node(fid.find("mixed_7c/b3/0").expect("a pool")).op;
    assert_eq!(*last, Op::MaxPool { size: 3, stride: 1, pad: Pad::Same });
    let residual =
        |net: &str, block: &str| graph(net).nodes()[graph(net).find(block).expect(block).0].op.clone();
    assert_eq!(residual("inception_resnet_v1", "block35_1"), Op::Residual { scale: 0.17, relu: true });
    assert_eq!(residual("inception_resnet_v2", "block17_10"), Op::Residual { scale: 0.10, relu: true });
    assert_eq!(residual("inception_resnet_v2.slim", "block8_9"), Op::Residual { scale: 0.20, relu: true });
    assert_eq!(residual("inception_resnet_v2.slim", "block8_10"), Op::Residual { scale: 1.0, relu: false });
    assert_eq!(residual("inception_resnet_v1.facenet", "block8_6"), Op::Residual { scale: 1.0, relu: false });
    // Another scale is that of every scaled block.
    for (net, block, scale) in [
        ("inception_resnet_v2", "block17_10", 0.5),
        ("inception_resnet_v2.slim", "block8_9", 0.5),
        ("inception_resnet_v2.slim", "block8_10", 1.0),
    ] {
        let spec = Spec { residual_scale: Some(0.5), ..Spec::new(net) };
        let graph = build(&spec).expect("valid");
        let found = &graph.node(graph.find(block).expect(block)).op;
        assert!(matches!(found, Op::Residual { scale: s, .. } if *s == scale), "{net} {block}: {found:?}");
    }
    let wrong = build(&Spec { residual_scale: Some(0.0), ..Spec::new("inception_resnet_v1") });
    assert!(wrong.expect_err("refused").to_string().contains("residual scale"));
    let identities = build(&Spec::new("inception_resnet_v1.facenet").classes(8631)).expect("valid");
    assert_eq!(identities.parameter_count(), 27_910_327);
    assert_eq!(
        identities.outputs().iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
        ["embedding", "logits"]
    );
}
