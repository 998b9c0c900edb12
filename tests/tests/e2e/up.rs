use command_center_tests::Stack;

#[test]
fn up_from_nothing() {
    let stack = Stack::new("up");
    let ran = stack.up();
    eprintln!("{}", ran.said());
    let ran = stack.up();
    eprintln!("{}", ran.said());
}
