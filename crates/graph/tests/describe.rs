//! What a person or a program reads about a network: summary, memory, diagram.

use inception_graph::{Graph, NETWORKS, Spec, build, thousands};

fn graph(spec: &Spec) -> Graph {
    build(spec).expect("a valid network")
}

/// Every network at its own size, narrow and small, and FaceNet's with a classifier beside the embedding.
fn graphs() -> impl Iterator<Item = Graph> {
    let own = NETWORKS.iter().map(|net| Spec::new(net.name));
    let small = NETWORKS.iter().map(|net| Spec::new(net.name).img_size(75).width(0.25).classes(10));
    own.chain(small).map(|spec| graph(&spec))
}

#[test]
fn rows_add_up() {
    for graph in graphs() {
        let summary = graph.describe(1);
        let totals = (summary.parameters, summary.macs);
        let endpoints = summary.endpoints.iter().map(|row| (row.parameters, row.macs));
        assert_eq!(endpoints.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)), totals, "{}", summary.net);
        let layers = summary.layers.iter().map(|row| (row.parameters, row.macs));
        assert_eq!(layers.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)), totals, "{}", summary.net);
        let names: Vec<_> = graph.endpoints().map(|(_, node)| node.name.as_str()).collect();
        assert_eq!(summary.endpoints.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(summary.layers.len(), graph.nodes().len());
    }
}

#[test]
fn rows_say_what_a_box_is() {
    let summary = graph(&Spec::new("inception_resnet_v1.facenet").classes(10)).describe(1);
    let endpoints = [
        ("conv_1a", "conv 3×3/2 V → 32", [79, 79, 32]),
        ("pool_3a", "max pool 3×3/2 V", [38, 38, 64]),
        ("block35_1", "3 branches, residual × 0.17, ReLU", [17, 17, 256]),
        ("mixed_7a", "4 branches, concat", [3, 3, 1792]),
        ("block8_6", "2 branches, residual × 1", [3, 3, 1792]),
        ("pool", "global average pool", [1, 1, 1792]),
        ("dropout", "dropout, keep 0.8", [1, 1, 1792]),
        ("bottleneck", "conv 1×1 → 512, no ReLU", [1, 1, 512]),
        ("embedding", "L2 norm", [1, 1, 512]),
        ("logits", "linear → 10", [1, 1, 10]),
    ];
    for (name, what, shape) in endpoints {
        let row = summary.endpoints.iter().find(|row| row.name == name).expect(name);
        assert_eq!((row.what.as_str(), row.shape), (what, shape), "{name}");
    }
    let layer = |name: &str| summary.layers.iter().find(|row| row.name == name).expect("a layer");
    let row = layer("block17_1/b1/1");
    assert_eq!((row.op, row.kernel, row.stride, row.pad), ("conv", Some([1, 7]), Some(1), Some("same")));
    assert_eq!(
        (row.inputs.join(" "), row.parameters, row.macs),
        ("block17_1/b1/0".into(), 114_944, 7_340_032)
    );
    let row = layer("block17_1");
    assert_eq!(
        (row.op, row.kernel, row.inputs.join(" ")),
        ("residual", None, "mixed_6a block17_1/up".into())
    );
    assert_eq!(layer("block17_1/up").what, "conv 1×1 → 896, linear");
    let padded = graph(&Spec::new("inception_v3.torchvision")).describe(1);
    assert!(padded.layers.iter().any(|row| row.what == "avg pool 3×3, padding counted"));
}

#[test]
fn the_summary_is_a_page() {
    let graph = graph(&Spec::new("inception_v4"));
    let page = graph.summary(2, false);
    for line in [
        "network      inception_v4",
        "input        299×299×3",
        "parameters   42,679,816 (42,648,232 without batch norm's γ)",
        "weights      171.0 MB in f32, running statistics included",
        "cost         12.254 GMAC a picture",
        "activations  17.9 MB in f32 at their peak, batch 2",
        "endpoint  what                     output  parameters            MACs    share",
        "mixed_6b  4 branches, concat   17×17×1024   2,936,256     847,264,768    6.9 %",
        "total                                      42,679,816  12,253,974,624  100.0 %",
    ] {
        assert!(page.lines().any(|l| l == line), "no line {line:?} in\n{page}");
    }
    let page = graph.summary(1, true);
    let columns = |text: &str| {
        text.split("  ").filter(|c| !c.is_empty()).map(|c| c.trim().to_string()).collect::<Vec<_>>()
    };
    let line =
        |name: &str| columns(page.lines().find(|l| l.starts_with(&format!("{name}  "))).expect("a line"));
    let row = ["mixed_4a/b1/1", "conv 1×7 → 64", "73×73×64", "73×73×64", "28,800", "152,793,088", "1.2 %"];
    assert_eq!(line("mixed_4a/b1/1"), row);
    assert_eq!(line("mixed_7b"), ["mixed_7b", "concat", "6 inputs", "8×8×1536", "0", "0", "0.0 %"]);
    assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
}

#[test]
fn peak_of_activations() {
    let peak = |net: &str, batch| graph(&Spec::new(net)).peak_activation_bytes(batch);
    // The two last convolutions in front of the first pool.
    assert_eq!(peak("inception_v3", 1), 147 * 147 * (32 + 64) * 4);
    // The third convolution and the concat behind it, whose slices its branches fill.
    assert_eq!(peak("inception_v4", 3), 3 * (147 * 147 * 64 + 73 * 73 * 160) * 4);
}

/// Left, top, right, bottom of every box with text; panels and the ground are not among them.
fn boxes(svg: &str) -> Vec<[f64; 4]> {
    let number = |element: &str, key: &str| -> f64 {
        let rest = element.split(&format!(" {key}=\"")).nth(1).expect("an attribute");
        rest.split('"').next().and_then(|n| n.parse().ok()).expect("a number")
    };
    let rects = svg
        .lines()
        .filter(|l| l.starts_with("<rect") && !l.contains("\"panel\"") && !l.contains("\"ground\""));
    rects
        .map(|r| {
            let [x, y, w, h] = ["x", "y", "width", "height"].map(|key| number(r, key));
            [x, y, x + w, y + h]
        })
        .collect()
}

#[test]
fn diagrams_do_not_overlap() {
    for graph in graphs() {
        let (svg, net) = (graph.to_svg(), &graph.spec().net);
        let boxes = boxes(&svg);
        for (i, a) in boxes.iter().enumerate() {
            for b in &boxes[..i] {
                assert!(
                    a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1],
                    "{net}: {a:?} and {b:?}"
                );
            }
        }
        let size = svg.split("viewBox=\"0 0 ").nth(1).and_then(|s| s.split('"').next()).expect("a size");
        let (w, h) = size.split_once(' ').expect("two numbers");
        let (w, h): (f64, f64) = (w.parse().expect("a width"), h.parse().expect("a height"));
        assert!(w <= 1600.0 && boxes.iter().all(|b| b[0] >= 0.0 && b[2] <= w && b[3] <= h), "{net}: {w} {h}");
    }
}

#[test]
fn diagrams_draw_each_kind_of_block_once() {
    let svg = graph(&Spec::new("inception_v4")).to_svg();
    let count = |text: &str| svg.matches(&format!(">{text}</text>")).count();
    for stage in ["4 × mixed_5b … 5e", "mixed_6a", "7 × mixed_6b … 6h", "mixed_7a", "3 × mixed_7b … 7d"]
    {
        assert_eq!(count(stage), 2, "{stage}: once in the column, once as a panel's head");
    }
    assert_eq!((count("1×7 conv 224"), count("7×1 conv 224"), count("1×7 conv 256")), (2, 1, 2));
    assert_eq!((count("filter concat, 17×17×1024"), count("linear 1000")), (2, 1));
    let svg = graph(&Spec::new("inception_resnet_v2")).to_svg();
    assert_eq!(svg.matches(">× 0.17</text>").count(), 1);
    assert_eq!(svg.matches(">sum, ReLU</text>").count(), 3);
    assert_eq!(svg.matches("5 × block35_1 … 5").count(), 2);
}
