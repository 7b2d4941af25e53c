//! What a request may change, what it may not, and what a graph starts with.

use inception_graph::{After, Graph, NETWORKS, Op, Spec, Weights, build};

fn graph(net: &str) -> Graph {
    build(&Spec::new(net)).expect("a valid network")
}

#[test]
fn width_and_classes() {
    for net in NETWORKS {
        let full = graph(net.name);
        let half = build(&Spec::new(net.name).width(0.3).classes(7)).expect("valid");
        assert_eq!(half.nodes().len(), build(&Spec::new(net.name).classes(7)).expect("valid").nodes().len());
        let convs = half.nodes().iter().filter(|n| matches!(n.op, Op::Conv { after: After::BnRelu, .. }));
        assert!(convs.clone().all(|n| n.shape.c % 8 == 0 && n.shape.c >= 8), "{}", net.name);
        assert_eq!(half.classes(), 7);
        let one_more = build(&Spec::new(net.name).classes(11)).expect("valid").parameter_count();
        let ten = build(&Spec::new(net.name).classes(10)).expect("valid").parameter_count();
        let features = if net.classes == 0 { 512 } else { full.shape_of("pool").expect("a pool").c };
        assert_eq!(one_more - ten, features + 1, "{}: one class more", net.name);
    }
}

/// What Keras publishes as `notop`, and what features are taken of.
#[test]
fn without_classes_a_network_ends_in_its_pooled_features() {
    for net in NETWORKS.iter().filter(|net| net.classes > 0) {
        let (full, headless) = (graph(net.name), build(&Spec::new(net.name).classes(0)).expect("valid"));
        let pool = headless.find("pool").expect("a pool");
        assert_eq!(headless.outputs(), [("features".to_string(), pool)], "{}", net.name);
        assert_eq!((headless.classes(), headless.nodes().len()), (0, pool.0 + 1), "{}", net.name);
        let classifier = (headless.node(pool).shape.c + 1) * net.classes;
        assert_eq!(full.parameter_count() - headless.parameter_count(), classifier, "{}", net.name);
    }
}

#[test]
fn graphs_are_well_formed() {
    for net in NETWORKS {
        let graph = graph(net.name);
        for (i, node) in graph.nodes().iter().enumerate() {
            assert!(
                node.inputs.iter().all(|input| input.0 < i),
                "{}: {} before its inputs",
                net.name,
                node.name
            );
        }
        let mut names: Vec<_> = graph.params().iter().map(|p| p.name.clone()).collect();
        names.extend(graph.nodes().iter().map(|n| n.name.clone()));
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{}: names repeat", net.name);
    }
}

#[test]
fn wrong_requests_say_what_is_right() {
    let error = |spec: &Spec| build(spec).expect_err("refused").to_string();
    assert!(error(&Spec::new("inception-v4")).contains("did you mean `inception_v4`?"));
    assert!(error(&Spec::new("InceptionResnetV2")).contains("did you mean `inception_resnet_v2`?"));
    assert!(!error(&Spec::new("vgg")).contains("did you mean"));
    assert!(error(&Spec::new("vgg")).contains("inception_v3 inception_v4"));
    assert!(error(&Spec::new("inception_v4").width(0.0)).contains("width 0 is out of range"));
    assert!(error(&Spec::new("inception_v4").width(f64::NAN)).contains("width NaN"));
    assert!(error(&Spec::new("inception_v4").classes(1_000_001)).contains("number of classes 1000001"));
    assert!(error(&Spec::new("inception_v4").img_size(0)).contains("input size 0"));
    assert!(error(&Spec::new("inception_v4").img_size(1 << 40)).contains("out of range"));
}

#[test]
fn initial_values() {
    let graph = graph("inception_v4");
    let weights = Weights::init(&graph, 7);
    let kernel = weights.get(weights.index("mixed_6b/b0/0/weight").expect("exists"));
    let expected = 2.0 / 1024.0;
    let variance = kernel.iter().map(|v| f64::from(v * v)).sum::<f64>() / kernel.len() as f64;
    assert!((variance / expected - 1.0).abs() < 0.01, "{variance} instead of {expected}");
    let bound = 2.0 * (expected as f32).sqrt() / 0.879_6;
    assert!(kernel.iter().all(|v| v.abs() < bound) && kernel.iter().any(|v| v.abs() > 0.95 * bound));
    let linear = weights.get(weights.index("logits/weight").expect("exists"));
    let bound = (6.0f32 / (1536.0 + 1000.0)).sqrt();
    assert!(linear.iter().all(|v| v.abs() <= bound) && linear.iter().any(|v| v.abs() > 0.99 * bound));
    assert!(weights.get(weights.index("conv_1a/gamma").expect("exists")).iter().all(|v| *v == 1.0));
    assert!(weights.get(weights.index("conv_1a/beta").expect("exists")).iter().all(|v| *v == 0.0));
    assert_eq!(weights.data, Weights::init(&graph, 7).data);
    assert_ne!(weights.data, Weights::init(&graph, 8).data);
}
